//! unhandled
