//! Whether STRICT is safe: the gate over fleets that are put together here, all of it pure.

mod gate {
    mod answers;
    mod plaintext;
    mod policies;
    mod printed;
    mod rows;
    mod support;
    mod tally;
    mod watching;
}
