//! What a configuration accepts, refuses, and says.
