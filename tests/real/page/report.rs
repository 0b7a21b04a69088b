//! The report of SLOs as HTML, in a browser: read by everybody, in light, in the dark, on paper, and
//! without asking anybody for anything.

use super::browser::Browser;
use super::{EVIL, NARROW, WIDE, read_by_everybody};
use crate::real::report::past::{Past, last_hour, stamp};
use crate::real::report::{recorded, report};
use crate::real::support::{temp_dir, write_file};

#[tokio::test]
async fn a_report_is_read_by_everybody_and_on_paper() {
    let end = last_hour();
    let past = Past::of(recorded::two_weeks(end));
    let serving = past.serve(&[]).await;
    let evil = serde_json::to_string(EVIL).expect("a string");
    let slos = format!(
        "{}- {{ name: quick, description: {evil}, objective: 99%, window: 7d, sli: {{ latency: {{ threshold: 1s }} }} }}\n",
        recorded::SLOS
    );
    let flags = ["--to", &stamp(end), "-o", "html"];
    let told = report(serving.address, &slos, &flags).await;
    let dir = temp_dir();
    let file = write_file(&dir, "report.html", told.out);
    let mut browser = Browser::start().await;
    let tab = &mut browser.tab;
    tab.open(&format!("file://{}", file.display()), WIDE).await;
    assert_eq!(tab.text("document.querySelector('h1').textContent").await, "0 of 2 SLOs met");
    let first = tab.text("document.querySelector('.results p').textContent").await;
    assert!(first.contains("2 of 3 nodes keep it. Missed by n2."), "{first}");
    read_by_everybody(tab, "report").await;
    assert!(tab.holds("window.evil === undefined").await);
    assert!(
        tab.holds("document.body.textContent.includes('onerror=')").await,
        "it is shown as text"
    );
    // What a browser fetched besides the file.
    assert!(tab.holds("performance.getEntriesByType('resource').length === 0").await);
    assert!(tab.holds("document.querySelectorAll('svg').length === 3").await);

    let ground = "getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'";
    tab.prefer("dark").await;
    assert!(!tab.holds(ground).await, "the dark is dark");
    tab.print().await;
    assert!(tab.holds(ground).await, "paper is white, also for who prefers the dark");
    tab.shoot("report-print").await;
    tab.prefer("light").await;
    tab.open(&format!("file://{}", file.display()), NARROW).await;
    assert!(tab.holds("document.documentElement.scrollWidth <= innerWidth").await, "it fits");
    tab.assert_quiet();
}
