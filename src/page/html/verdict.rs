//! The first line, and what it rests on.

use maud::{Markup, html};

use super::{moment, percent};
use crate::page::known::Known;
use crate::page::verdict::{Headline, Tone};
use crate::page::words::between;

pub(super) fn of(headline: &Headline, known: &Known) -> Markup {
    let (class, sign) = match headline.tone {
        Tone::Healthy => ("m", "√"),
        Tone::Unknown => ("u", "?"),
        Tone::Broken => ("v", "×"),
    };
    html! {
        section #verdict .card .tone .(class) aria-label="Verdict" {
            p .sign aria-hidden="true" { (sign) }
            div {
                div aria-live="polite" aria-atomic="true" {
                    h1 {
                        (headline.text)
                        @if let Some(since) = headline.since {
                            span .since { " since " (moment(since, known)) }
                        }
                    }
                }
                p .quiet {
                    @if let Some(since) = headline.since { "for " (between(since, known.at)) " · " }
                    @if let Some(sure) = headline.confidence { (percent(sure)) " sure · " }
                    @if headline.basis.is_empty() { "nothing was heard yet" } @else { (headline.basis) }
                }
                @if let Some(next) = &headline.next { p .next { "Next: " code { (next) } } }
                @if !headline.evidence.is_empty() {
                    details #evidence {
                        summary { "What speaks for and against it" }
                        ul { @for said in &headline.evidence { li { (said) } } }
                    }
                }
                (others(headline, known))
                @if let Some(slow) = known.slow.words() { p #slow { (slow) "." } }
                @for caveat in &known.caveats { p .caveat { (caveat) } }
            }
        }
    }
}

fn others(headline: &Headline, known: &Known) -> Markup {
    html! {
        @if !headline.others.is_empty() {
            h2 .small { "Also" }
            ul .also {
                @for other in &headline.others {
                    li {
                        (other.text)
                        @if let Some(since) = other.since { " since " (moment(since, known)) }
                        span .quiet { " · " (percent(other.confidence)) " sure · next: " }
                        code { (other.next) }
                    }
                }
                @if headline.more > 0 { li { "and " (headline.more) " more" } }
            }
        }
    }
}
