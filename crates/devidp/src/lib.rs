//! A stand-in OpenID provider on loopback, with faults on command.
