//! Why a cost is not known: a model has no price, or nobody has told what was used.

use std::collections::BTreeSet;

use fleet_core::name::word;
use fleet_core::price::Prices;
use fleet_core::spend::Spend;

/// Why some costs are not known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unknown {
    /// Models of which the table has no price.
    pub unpriced: BTreeSet<String>,
    /// Commands that show whose costs are not known for another reason.
    pub untold: BTreeSet<String>,
}

impl Unknown {
    /// Adds what `entries` have without a cost. `show` is the command that shows whose they are. Without a table of `prices`
    /// nobody can say that a model is not in it.
    pub(crate) fn add<'a>(
        &mut self,
        prices: Option<&Prices>,
        entries: impl IntoIterator<Item = &'a Spend>,
        show: &str,
    ) {
        for entry in entries.into_iter().filter(|entry| entry.cost.is_none()) {
            let has_price = |model: &str| prices.is_none_or(|all| all.knows(model, entry.at));
            match entry.model.as_deref() {
                Some(model) if !has_price(model) => drop(self.unpriced.insert(model.to_owned())),
                _ => drop(self.untold.insert(show.to_owned())),
            }
        }
    }
}

/// What to do about models without a price; none where there are none.
pub(crate) fn hint_of_prices(unpriced: &[String]) -> Option<String> {
    let names: Vec<String> = unpriced.iter().map(|model| format!("`{}`", word(model))).collect();
    let have = if names.len() == 1 { "has" } else { "have" };
    let hint = format!(
        "{} {have} no price, so the cost is not known; how to give one: `fleet budget prices --example`",
        names.join(", ")
    );
    (!names.is_empty()).then_some(hint)
}

#[cfg(test)]
mod tests {
    use fleet_core::Time;
    use fleet_core::money::Usd;
    use fleet_core::spend::{Certainty, Meter};
    use fleet_core::usage::Tokens;

    use super::*;

    fn entry(model: Option<&str>, cost: Option<Usd>) -> Spend {
        Spend {
            meter: Meter::Transcript,
            seq: 1,
            at: Time(0),
            model: model.map(str::to_owned),
            tokens: Tokens::default(),
            cost,
            certainty: Certainty::Unknown,
            reported: None,
            task: None,
        }
    }

    #[test]
    fn a_model_without_a_price_is_told_from_what_nobody_has_told() {
        let table = "version = 1\n[[price]]\nmodels = [\"m-1\"]\ninput = 1\noutput = 1\n";
        let prices = Prices::parse(table, "a test").expect("prices");
        let why = |entries: &[Spend], prices: Option<&Prices>| {
            let mut unknown = Unknown::default();
            unknown.add(prices, entries, "look");
            (Vec::from_iter(unknown.unpriced), Vec::from_iter(unknown.untold))
        };
        let look = || vec!["look".to_owned()];
        let all = [entry(Some("m-2"), None), entry(Some("m-2"), Some(Usd::default()))];
        assert_eq!(why(&all, Some(&prices)), (vec!["m-2".to_owned()], vec![]));
        assert_eq!(why(&[entry(None, None)], Some(&prices)), (vec![], look()));
        assert_eq!(why(&[entry(Some("m-1"), None)], Some(&prices)), (vec![], look()));
        assert_eq!(why(&all, None), (vec![], look()));
        assert_eq!(
            why(&[entry(None, Some(Usd::default()))], Some(&prices)),
            (vec![], vec![])
        );
    }
}
