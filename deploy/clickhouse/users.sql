-- Users for the roles of access.sql: an example to copy and fill in. <HASH> is the SHA-256 of a long random password, as hex:
--   openssl rand -base64 30 | tee password.txt | tr -d '\n' | sha256sum
-- keyrail_migrator runs `keyrail migrate`; give services nothing of what it has.

CREATE USER IF NOT EXISTS keyrail_migrator IDENTIFIED WITH sha256_hash BY '<HASH>';
GRANT CREATE TABLE, DROP TABLE, ALTER TABLE, SELECT, INSERT ON keyrail.* TO keyrail_migrator WITH GRANT OPTION;
GRANT CREATE ROLE, ALTER ROLE, CREATE SETTINGS PROFILE ON *.* TO keyrail_migrator;

CREATE USER IF NOT EXISTS keyrail_cost_accounting IDENTIFIED WITH sha256_hash BY '<HASH>' DEFAULT DATABASE keyrail;
GRANT keyrail_writer TO keyrail_cost_accounting;

CREATE USER IF NOT EXISTS keyrail_grafana IDENTIFIED WITH sha256_hash BY '<HASH>' DEFAULT DATABASE keyrail;
GRANT keyrail_reader TO keyrail_grafana;
