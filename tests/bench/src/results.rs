//! All that was measured, by load, peer and round; saved as JSON and read back for a comparison.

use std::fs;
use std::path::Path;

use crate::json::Json;
use crate::load::{Load, Metric, Sample};
use crate::stats::{self, Spread};

pub struct Results {
    pub loads: Vec<Load>,
    pub peers: Vec<String>,
    /// The peer that the ratios of the tables are to.
    pub base: String,
    /// Of each load and each peer the samples of all rounds; a round without one is an empty sample.
    samples: Vec<Vec<Vec<Sample>>>,
    /// What went wrong, in the order in which it did.
    pub failures: Vec<String>,
}

impl Results {
    pub fn new(loads: Vec<Load>, peers: Vec<String>, base: &str) -> Results {
        let samples = loads
            .iter()
            .map(|_| vec![Vec::new(); peers.len()])
            .collect();
        Results {
            loads,
            peers,
            base: base.to_owned(),
            samples,
            failures: Vec::new(),
        }
    }

    pub fn record(
        &mut self,
        load: usize,
        peer: usize,
        round: usize,
        result: Result<Sample, String>,
    ) {
        let name = format!(
            "{}, {}, round {}",
            self.loads[load].name,
            self.peers[peer],
            round + 1
        );
        let sample = result.unwrap_or_else(|error| {
            self.failures.push(format!("{name}: {error}"));
            Sample::new()
        });
        let rounds = &mut self.samples[load][peer];
        rounds.resize(round, Sample::new());
        rounds.push(sample);
    }

    /// The values of a metric, by round.
    fn values(&self, load: usize, peer: usize, metric: &Metric) -> Vec<Option<f64>> {
        self.samples[load][peer]
            .iter()
            .map(|sample| {
                sample
                    .iter()
                    .find_map(|&(name, value)| (name == metric.name).then_some(value))
            })
            .collect()
    }

    pub fn spread(&self, load: usize, peer: usize, metric: &Metric) -> Option<Spread> {
        let values: Vec<f64> = self
            .values(load, peer, metric)
            .into_iter()
            .flatten()
            .collect();
        Spread::of(&values)
    }

    /// Ratios to another peer in the same rounds.
    pub fn ratio(&self, load: usize, peer: usize, to: &str, metric: &Metric) -> Option<Spread> {
        let other = self.peers.iter().position(|name| name == to)?;
        let ratios = stats::ratios(
            &self.values(load, peer, metric),
            &self.values(load, other, metric),
        );
        Spread::of(&ratios)
    }

    pub fn save(&self, path: &Path, head: &[(String, String)]) -> Result<(), String> {
        let head = head
            .iter()
            .map(|(name, value)| (name.clone(), Json::Text(value.clone())))
            .collect();
        let loads = self.loads.iter().enumerate().map(|(index, load)| {
            let metrics = load.kind.metrics().iter().map(|metric| {
                let peers = (0..self.peers.len()).filter_map(|peer| {
                    Some((self.peers[peer].clone(), self.to_json(index, peer, metric)?))
                });
                (metric.name.to_owned(), Json::Object(peers.collect()))
            });
            (load.name.clone(), Json::Object(metrics.collect()))
        });
        let failures = self.failures.iter().cloned().map(Json::Text).collect();
        let json = Json::Object(vec![
            ("head".to_owned(), Json::Object(head)),
            ("loads".to_owned(), Json::Object(loads.collect())),
            ("failures".to_owned(), Json::List(failures)),
        ]);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        fs::write(path, format!("{json}\n")).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn to_json(&self, load: usize, peer: usize, metric: &Metric) -> Option<Json> {
        let spread = self.spread(load, peer, metric)?;
        let values = self.values(load, peer, metric);
        let mut members = vec![
            ("unit".to_owned(), Json::Text(metric.unit.to_owned())),
            ("median".to_owned(), Json::Number(spread.median)),
        ];
        if let Some(ratio) = self.ratio(load, peer, &self.base, metric) {
            let numbers = [ratio.low, ratio.median, ratio.high].map(Json::Number);
            members.push(("ratio".to_owned(), Json::List(numbers.to_vec())));
        }
        let values = values.into_iter().map(Json::from_number).collect();
        members.push(("rounds".to_owned(), Json::List(values)));
        Some(Json::Object(members))
    }
}

/// The results of an earlier run.
pub struct Earlier(Json);

impl Earlier {
    pub fn read(path: &Path) -> Result<Earlier, String> {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let json = Json::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Earlier(json))
    }

    pub fn head(&self, name: &str) -> &str {
        match self.0.at(&["head", name]) {
            Some(Json::Text(text)) => text,
            _ => "unknown",
        }
    }

    pub fn median(&self, load: &str, metric: &str, peer: &str) -> Option<f64> {
        self.0
            .at(&["loads", load, metric, peer, "median"])?
            .as_number()
    }

    /// The median of the ratios.
    pub fn ratio(&self, load: &str, metric: &str, peer: &str) -> Option<f64> {
        match self.0.at(&["loads", load, metric, peer, "ratio"])? {
            Json::List(numbers) => numbers.get(1)?.as_number(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::REFERENCE;

    #[test]
    fn results_are_saved_and_found_again() {
        let loads = crate::load::all();
        let metric = &loads[0].kind.metrics()[0];
        let name = loads[0].name.clone();
        let peers = vec![REFERENCE.to_owned(), "ours".to_owned()];
        let mut results = Results::new(loads, peers, REFERENCE);
        for (round, value) in [10.0, 20.0, 40.0].into_iter().enumerate() {
            results.record(0, 0, round, Ok(vec![(metric.name, value)]));
            // The second round has failed.
            let ours = if round == 1 {
                Err("no".to_owned())
            } else {
                Ok(vec![(metric.name, value * 3.0)])
            };
            results.record(0, 1, round, ours);
        }
        assert_eq!(results.failures.len(), 1);
        assert_eq!(results.spread(0, 0, metric).unwrap().median, 20.0);
        assert_eq!(results.ratio(0, 1, REFERENCE, metric).unwrap().median, 3.0);

        let path = std::env::temp_dir().join(format!("bench-results-{}.json", std::process::id()));
        results
            .save(&path, &[("date".to_owned(), "today".to_owned())])
            .unwrap();
        let earlier = Earlier::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(earlier.head("date"), "today");
        assert_eq!(earlier.median(&name, metric.name, "ours"), Some(75.0));
        assert_eq!(earlier.ratio(&name, metric.name, "ours"), Some(3.0));
        assert_eq!(earlier.median(&name, metric.name, "theirs"), None);
    }
}
