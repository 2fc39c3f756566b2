-- The state database as mr-masterd made it once, of version 1.
CREATE TABLE jobs(number INTEGER PRIMARY KEY, description BLOB NOT NULL, uid INTEGER NOT NULL, state INTEGER NOT NULL, ending INTEGER NOT NULL, reason TEXT, error_output TEXT, submitted INTEGER, started INTEGER, finished INTEGER, maps INTEGER, reduces INTEGER, maps_done INTEGER, reduces_done INTEGER, attempts_failed INTEGER, attempts_lost INTEGER, outputs_lost INTEGER, input_bytes INTEGER, output_created INTEGER, counters TEXT);
CREATE TABLE inputs(job INTEGER, seq INTEGER, path BLOB, size INTEGER, mtime INTEGER, PRIMARY KEY(job, seq)) WITHOUT ROWID;
CREATE TABLE tasks(job INTEGER, kind INTEGER, task INTEGER, started INTEGER, failed INTEGER, lost INTEGER, done INTEGER, attempt INTEGER, worker INTEGER, newest_worker INTEGER, status TEXT, counters TEXT, PRIMARY KEY(job, kind, task)) WITHOUT ROWID;
CREATE TABLE events(job INTEGER, seq INTEGER, usec INTEGER, kind TEXT, text TEXT, PRIMARY KEY(job, seq)) WITHOUT ROWID;
CREATE TABLE workers(number INTEGER PRIMARY KEY, id TEXT UNIQUE, name TEXT, address TEXT, slots INTEGER, drained INTEGER);
CREATE TABLE attempts(job INTEGER, kind INTEGER, task INTEGER, attempt INTEGER, worker INTEGER, started INTEGER, finished INTEGER, ending TEXT, reason TEXT, PRIMARY KEY(job, kind, task, attempt)) WITHOUT ROWID;
CREATE INDEX attempts_failed ON attempts(job, finished) WHERE ending IN ('failed', 'lost', 'rejected');
CREATE TABLE tails(job INTEGER, seq INTEGER, usec INTEGER, kind INTEGER, task INTEGER, attempt INTEGER, worker TEXT, text TEXT, PRIMARY KEY(job, seq)) WITHOUT ROWID;
PRAGMA user_version = 1;
