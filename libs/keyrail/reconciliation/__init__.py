"""Reports of providers read, and compared with sums of the ledger. Pure: bytes and rows in, data out."""
