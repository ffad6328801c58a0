//! The rules of this store, each made to happen.
