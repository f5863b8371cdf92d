-- Who may do what on the ledger. Roles only: users are yours to make (deploy/clickhouse/users.sql). Safe to run again.
-- Run it in the ledger's database, by `keyrail migrate --access` or by hand, as a user who may create roles and has what it
-- grants. After a release that brings a table, run it again.

-- cost-accounting. No DDL: migrations are run by somebody else. What it reads of contents is sealed:
-- it hands them to control, for who holds the tenant's key.
CREATE ROLE IF NOT EXISTS keyrail_writer;
GRANT SELECT ON migrations TO keyrail_writer;
GRANT SELECT, INSERT ON attempts TO keyrail_writer;
GRANT SELECT, INSERT ON requests TO keyrail_writer;
GRANT SELECT, INSERT ON alerts TO keyrail_writer;
GRANT SELECT, INSERT ON costs_minute TO keyrail_writer;
GRANT SELECT, INSERT ON costs_hour TO keyrail_writer;
GRANT SELECT, INSERT ON costs_day TO keyrail_writer;
GRANT SELECT, INSERT ON rollups TO keyrail_writer;
GRANT SELECT, INSERT ON prices TO keyrail_writer;
GRANT SELECT, INSERT ON provider_reports TO keyrail_writer;
GRANT SELECT, INSERT ON decisions TO keyrail_writer;
GRANT SELECT, INSERT ON verdicts TO keyrail_writer;
GRANT SELECT, INSERT, ALTER DELETE ON contents TO keyrail_writer;
GRANT SELECT, INSERT ON contents_deleted TO keyrail_writer;

-- Dashboards and people: everything about money and reliability, nothing of what was asked or answered. Queries end after a
-- minute; a query may ask for another limit of its own, and for less threads.
CREATE SETTINGS PROFILE IF NOT EXISTS keyrail_reading
    SETTINGS readonly = 1, max_execution_time = 60 CHANGEABLE_IN_READONLY, max_threads = 4 CHANGEABLE_IN_READONLY,
        do_not_merge_across_partitions_select_final = 1;
CREATE ROLE IF NOT EXISTS keyrail_reader;
ALTER ROLE keyrail_reader SETTINGS PROFILE 'keyrail_reading';
GRANT SELECT ON attempts TO keyrail_reader;
GRANT SELECT ON requests TO keyrail_reader;
GRANT SELECT ON alerts TO keyrail_reader;
GRANT SELECT ON costs_minute TO keyrail_reader;
GRANT SELECT ON costs_hour TO keyrail_reader;
GRANT SELECT ON costs_day TO keyrail_reader;
GRANT SELECT ON rollups TO keyrail_reader;
GRANT SELECT ON prices TO keyrail_reader;
GRANT SELECT ON provider_reports TO keyrail_reader;
GRANT SELECT ON decisions TO keyrail_reader;
GRANT SELECT ON verdicts TO keyrail_reader;

-- Prompts and answers, encrypted to their tenant's key. Granted on top, to whoever fetches them for a tenant.
CREATE ROLE IF NOT EXISTS keyrail_contents_reader;
GRANT SELECT ON contents TO keyrail_contents_reader;
