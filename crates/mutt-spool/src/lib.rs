//! Where the ingestor keeps events while Redis is away.
