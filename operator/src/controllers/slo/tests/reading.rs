//! The README's page "Reading an SLO" shows what the operator says, word for word. `SHOALWATCH_REGENERATE=1` writes it anew.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::shop::{Shop, name};

const BEGIN: &str =
    "<!-- what the operator says: SHOALWATCH_REGENERATE=1 cargo test -p shoalwatch-operator reading -->\n";
const END: &str = "<!-- end of what the operator says -->\n";

/// Twenty minutes of a good release, then one that answers a fifth badly.
fn undone() -> Shop {
    let mut shop = Shop::open(json!({}));
    shop.traffic(1_200, &[("shop:1", 50, 0)]);
    shop.deploy("shop:2");
    shop.ready("shop:2", 1);
    shop.ready("shop:1", 3);
    shop.traffic(10, &[("shop:1", 38, 0), ("shop:2", 10, 2)]);
    shop.traffic(60, &[("shop:1", 50, 0)]);
    shop.plan();
    shop
}

fn page(shop: &Shop) -> String {
    let status = &shop.slos.known[&name("checkout")].status;
    let hour = status.burn.iter().find(|burn| burn.window == "1h");
    let columns = format!(
        "{:<9} {:<10} {:<17} {:<9} {:<7} {:<9} {:<9} AGE\n{:<9} {:<10} {:<17} {:<9} {:<7} {:<9} {:<9} 21m",
        "NAME",
        "OBJECTIVE",
        "INDICATOR",
        "BURN(1H)",
        "BUDGET",
        "PHASE",
        "ROLLBACK",
        "checkout",
        "99.9",
        status.indicator.as_deref().unwrap_or_default(),
        hour.map(|burn| burn.rate.as_str()).unwrap_or_default(),
        status
            .budget
            .as_ref()
            .map(|budget| budget.remaining.as_str())
            .unwrap_or_default(),
        status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default(),
        status
            .rollback
            .as_ref()
            .map(|rollback| format!("{:?}", rollback.state))
            .unwrap_or_default(),
    );
    let events: Vec<_> = shop
        .steps
        .iter()
        .zip(&shop.said)
        .map(|(reason, said)| format!("{reason:<17} {said}"))
        .collect();
    let status = serde_saphyr::to_string(&json!({ "status": status })).unwrap();
    format!(
        "```\n$ kubectl -n shop get slo checkout\n{columns}\n\n$ kubectl -n shop events --for slo/checkout\n{}\n```\n```yaml\n\
         # kubectl -n shop get slo checkout -o yaml\n{}\n```\n",
        events.join("\n"),
        status.trim_end()
    )
}

#[test]
fn the_readme_shows_what_the_operator_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    let said = page(&undone());
    if std::env::var_os("SHOALWATCH_REGENERATE").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{said}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(shown, said, "SHOALWATCH_REGENERATE=1 writes it anew");
}
