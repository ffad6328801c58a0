//! The chain, step by step.
