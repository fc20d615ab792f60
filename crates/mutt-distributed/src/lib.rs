//! The engine over Redis and PostgreSQL.
