//! What the tests stand on: private environments and a scripted harness.
