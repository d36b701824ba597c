//! What programs ask, in JSON, against the manifest.
