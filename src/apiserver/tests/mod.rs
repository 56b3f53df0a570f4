//! Tests of the API server, called directly.
