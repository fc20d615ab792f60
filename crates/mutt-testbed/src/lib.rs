//! Real Redis, Sentinel, PostgreSQL and OpenBao servers of their own for tests and local set-ups.
