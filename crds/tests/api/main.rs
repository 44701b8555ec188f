//! The kinds as their users meet them: what may be written, what is refused and with which words, and what is generated.

#[cfg(test)]
mod definitions;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod types;
#[cfg(test)]
mod values;
