//! Several workers and several replicas of the operator, and everything that can happen between them, against a naive model.

#[cfg(test)]
mod world;
