mod acts;
mod conditions;
mod memory;
mod shop;
