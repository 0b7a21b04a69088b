//! The keys of a DNS question.

use crate::config::decode::{Field, Fields};
use crate::config::server::{network, set};
use crate::spec::{DnsModule, InvalidAddress, Qtype, Search, Transport, dns_name};
use crate::target::Endpoint;

pub(in crate::config) const TRANSPORTS: [(&str, Transport); 2] =
    [("udp", Transport::Udp), ("tcp", Transport::Tcp)];

/// RCODEs that a server can answer a question with (IANA spelling).
const RCODES: [(&str, &str); 11] = [
    ("NOERROR", "NOERROR"),
    ("FORMERR", "FORMERR"),
    ("SERVFAIL", "SERVFAIL"),
    ("NXDOMAIN", "NXDOMAIN"),
    ("NOTIMP", "NOTIMP"),
    ("REFUSED", "REFUSED"),
    ("YXDOMAIN", "YXDOMAIN"),
    ("YXRRSET", "YXRRSET"),
    ("NXRRSET", "NXRRSET"),
    ("NOTAUTH", "NOTAUTH"),
    ("NOTZONE", "NOTZONE"),
];
const MOST_DOMAINS: usize = 32;

/// The block `dns`.
pub(super) fn dns(fields: &mut Fields<'_>) -> DnsModule {
    let mut module = DnsModule {
        name: None,
        server: None,
        qtype: Qtype::A,
        transport: Transport::Udp,
        retries: 0,
        search: Search::Off,
        rcodes: vec!["NOERROR".to_owned()],
        min_answers: 1,
        addresses: Vec::new(),
    };
    // A wrong name is still a name: what the address stands for depends on it.
    let named = fields.take("name");
    module.name = named.map(|field| name(&field).unwrap_or_else(|| ".".to_owned()));
    if let Some(field) = fields.take("server") {
        module.server = server(&field);
        if module.name.is_some() {
            field.wrong(
                "stands beside name, which leaves nothing for the target's address",
                "leave one of the two out",
            );
            module.server = None;
        }
    }
    let qtypes = Qtype::ALL.map(|qtype| (qtype.as_str(), qtype));
    set(&mut module.qtype, fields.take("qtype").and_then(|f| f.word(&qtypes)));
    let transport = fields.take("transport");
    set(&mut module.transport, transport.and_then(|f| f.word(&TRANSPORTS)));
    if let Some(field) = fields.take("retries") {
        set(&mut module.retries, field.whole(0..=10));
        if module.retries > 0 && module.transport == Transport::Tcp {
            field.wrong("cannot be had over tcp", "leave it out; only datagrams are sent again");
        }
    }
    set(&mut module.search, fields.take("search").and_then(|f| search(&f)));
    set(&mut module.rcodes, fields.take("rcodes").map(|f| rcodes(&f)));
    let answers = fields.take("min_answers");
    set(&mut module.min_answers, answers.and_then(|f| f.whole(0..=1000)));
    if let Some(field) = fields.take("addresses") {
        module.addresses = field.items().iter().filter_map(network).collect();
        if !matches!(module.qtype, Qtype::A | Qtype::Aaaa) {
            let problem = format!("cannot be had of {} records", module.qtype.as_str());
            field.unvalued(problem, "leave it out, or ask for A or AAAA");
        }
    }
    module
}

fn name(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    field.accept(dns_name(text), "a DNS name")
}

fn server(field: &Field<'_>) -> Option<Endpoint> {
    let text = field.text()?;
    let server = Endpoint::with_default_port(text, 53).map_err(InvalidAddress::from);
    field.accept(server, "a DNS server")
}

fn search(field: &Field<'_>) -> Option<Search> {
    if !field.is_map() {
        let words = [("off", false), ("resolv_conf", true)];
        return field.word(&words).map(|resolv_conf| match resolv_conf {
            true => Search::ResolvConf,
            false => Search::Off,
        });
    }
    let mut fields = field.fields();
    let domains = fields.require("domains", "write a list of suffixes, e.g. [svc.cluster.local]");
    let domains = domains.map(|field| field.items()).unwrap_or_default();
    if domains.len() > MOST_DOMAINS {
        let problem = format!("has {} domains", domains.len());
        field.unvalued(problem, format!("write at most {MOST_DOMAINS}"));
    }
    let ndots = fields.take("ndots").map(|field| field.whole(0..=15));
    fields.finish();
    Some(Search::List {
        domains: domains.iter().filter_map(name).collect(),
        ndots: ndots.flatten().unwrap_or(5),
    })
}

fn rcodes(field: &Field<'_>) -> Vec<String> {
    let items = field.items();
    if items.is_empty() && field.is_list() {
        field.unvalued("is empty", "write at least one, e.g. [NOERROR]");
    }
    let word = |item: &Field<'_>| item.word(&RCODES).map(str::to_owned);
    items.iter().filter_map(word).collect()
}
