"""What a request costs, measured: Keyrail and its peers against the same upstream, on one machine."""
