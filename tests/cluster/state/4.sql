-- The state database of version 4.
CREATE TABLE jobs(number INTEGER PRIMARY KEY, description BLOB NOT NULL, uid INTEGER NOT NULL, state INTEGER NOT NULL, ending INTEGER NOT NULL, reason TEXT, error_output TEXT, submitted INTEGER, started INTEGER, finished INTEGER, maps INTEGER, reduces INTEGER, maps_done INTEGER, reduces_done INTEGER, attempts_failed INTEGER, attempts_lost INTEGER, outputs_lost INTEGER, input_bytes INTEGER, output_created INTEGER, counters TEXT, cause TEXT, cause_attempt TEXT);
CREATE TABLE inputs(job INTEGER, seq INTEGER, path BLOB, size INTEGER, mtime INTEGER, ctime INTEGER, inode INTEGER, device INTEGER, PRIMARY KEY(job, seq)) WITHOUT ROWID;
CREATE TABLE tasks(job INTEGER, kind INTEGER, task INTEGER, started INTEGER, failed INTEGER, lost INTEGER, done INTEGER, attempt INTEGER, worker INTEGER, newest_worker INTEGER, status TEXT, counters TEXT, running TEXT, origin TEXT, why INTEGER, PRIMARY KEY(job, kind, task)) WITHOUT ROWID;
CREATE TABLE events(job INTEGER, seq INTEGER, usec INTEGER, kind TEXT, text TEXT, PRIMARY KEY(job, seq)) WITHOUT ROWID;
CREATE TABLE skipped(job INTEGER, map INTEGER, seq INTEGER, path BLOB, offset INTEGER, length INTEGER, data BLOB, error TEXT, PRIMARY KEY(job, map, seq)) WITHOUT ROWID;
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE workers(number INTEGER PRIMARY KEY, id TEXT UNIQUE, name TEXT, address TEXT, slots INTEGER, drained INTEGER);
CREATE TABLE attempts(job INTEGER, kind INTEGER, task INTEGER, attempt INTEGER, worker INTEGER, started INTEGER, finished INTEGER, ending TEXT, reason TEXT, cause TEXT, PRIMARY KEY(job, kind, task, attempt)) WITHOUT ROWID;
CREATE INDEX attempts_failed ON attempts(job, finished) WHERE ending IN ('failed', 'lost', 'rejected');
CREATE TABLE tails(job INTEGER, seq INTEGER, usec INTEGER, kind INTEGER, task INTEGER, attempt INTEGER, worker TEXT, text TEXT, PRIMARY KEY(job, seq)) WITHOUT ROWID;
CREATE TABLE certificates(serial TEXT PRIMARY KEY, role INTEGER, worker TEXT, name TEXT, issued INTEGER, not_before INTEGER, not_after INTEGER, revoked INTEGER, issuer TEXT) WITHOUT ROWID;
CREATE TABLE tokens(id TEXT PRIMARY KEY, hash BLOB, created INTEGER, expires INTEGER, failed INTEGER) WITHOUT ROWID;
CREATE TABLE numbers(name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;
CREATE TABLE once_clients(number INTEGER PRIMARY KEY AUTOINCREMENT, principal TEXT, client TEXT, acknowledged INTEGER, UNIQUE(principal, client));
CREATE TABLE once_replies(client INTEGER, seq INTEGER, record BLOB, PRIMARY KEY(client, seq)) WITHOUT ROWID;
CREATE TABLE seen(job INTEGER PRIMARY KEY, maps BLOB);
PRAGMA user_version = 3;
