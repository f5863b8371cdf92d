"""`python -m support.tables DIRECTORY`: every table of an embedded ledger as one JSON object."""

from __future__ import annotations

import json
import sys

from keyrail_cost_accounting.ledger import open_ledger

TABLES = """
SELECT database, name FROM system.tables
WHERE database NOT IN ('system', 'information_schema', 'INFORMATION_SCHEMA')
"""
SEALED = "base64Encode(request) AS request, base64Encode(answer) AS answer"
"""Bytes that are no text."""

ledger = open_ledger(sys.argv[1])
found: dict[str, str] = {}
for table in ledger.ask(TABLES, {}):
    name = f"{table['database']}.{table['name']}"
    columns = f"* REPLACE ({SEALED})" if table["name"] == "contents" else "*"
    rows = ledger.ask(f"SELECT {columns} FROM {name}", {})
    found[name] = "\n".join(json.dumps(row, default=str) for row in rows)
print(json.dumps(found), flush=True)
