//! SLOs that are polled: what a Prometheus answers, what is new in it, and what it is judged to be.

mod answers;
mod judged;
mod meters;
