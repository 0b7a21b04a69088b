//! The page that an operator looks at: what is broken and since when, whether STRICT is safe, every
//! path of the truth table, and what was.
//!
//! Rendered here, whole, as HTML; a script keeps it as the events tell. Read-only, for whoever
//! serves it and says what is known ([`Source`]). Knows neither controllers nor labs, and judges
//! nothing: it shows what detection, diagnosis and gate said.

mod answer;
mod html;
mod known;
mod lines;
mod live;
mod matrix;
mod past;
mod paths;
mod query;
mod state;
mod timeline;
mod verdict;
mod words;

pub use answer::{PageBody, Pages};
pub use known::{Known, Node, Past, Source, Whose};
pub use lines::MOST_WINDOWS;
pub use past::past;
pub use paths::{Far, Path, Paths, Row, RowKey};
pub use state::{Counts, State};
