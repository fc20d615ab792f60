//! What PostgreSQL remembers: audit, catalog, applied claims, schema and its migrations.
