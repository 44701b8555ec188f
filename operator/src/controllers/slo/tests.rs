mod acts;
mod conditions;
mod memory;
mod reading;
mod rollouts;
mod rules;
mod shop;
mod turns;
