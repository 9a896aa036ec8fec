package main

// This file holds the durability tests: a closing change is acknowledged only after a sync of the
// log returned (strace on SQLite, pg_stat_wal on PostgreSQL), builds planted to be bad are found by
// the same checks, and with no room to write nothing is acknowledged.
