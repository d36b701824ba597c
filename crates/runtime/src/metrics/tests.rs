use super::{Registry, SERIES_MAX};

#[test]
fn renders_the_text_format() {
    let registry = Registry::new();
    let class = |class| [("class", class)];
    registry.counter("session_frames_total", "Frames received.", &class("bulk")).add(3);
    let again = registry.counter("session_frames_total", "Frames received.", &class("bulk"));
    again.increment();
    registry.counter("session_frames_total", "Frames received.", &class("a\"b\\c\nd"));
    registry.gauge("session_peers", "Peers now,\nconnected.", &[]).set(-2);
    let seconds = registry.histogram("session_store_seconds", "Time to store.", &[0.001, 0.5], &[]);
    for value in [0.001, 0.25, 7.0] {
        seconds.observe(value);
    }
    let expected = "\
# HELP session_frames_total Frames received.
# TYPE session_frames_total counter
session_frames_total{class=\"a\\\"b\\\\c\\nd\"} 0
session_frames_total{class=\"bulk\"} 4
# HELP session_peers Peers now,\\nconnected.
# TYPE session_peers gauge
session_peers -2
# HELP session_store_seconds Time to store.
# TYPE session_store_seconds histogram
session_store_seconds_bucket{le=\"0.001\"} 1
session_store_seconds_bucket{le=\"0.5\"} 2
session_store_seconds_bucket{le=\"+Inf\"} 3
session_store_seconds_sum 7.251
session_store_seconds_count 3
";
    assert_eq!(registry.render(), expected);
}

#[test]
fn histograms_keep_their_labels() {
    let registry = Registry::new();
    let histogram = registry.histogram("h", "H.", &[1.0], &[("method", "store")]);
    histogram.observe(2.0);
    let text = registry.render();
    assert!(text.contains("h_bucket{method=\"store\",le=\"+Inf\"} 1\n"), "{text}");
    assert!(text.contains("h_sum{method=\"store\"} 2\n"), "{text}");
}

#[test]
fn totals_kept_elsewhere_never_fall() {
    let counter = Registry::new().counter("c", "C.", &[]);
    counter.raise_to(7);
    counter.raise_to(5);
    assert_eq!(counter.value(), 7);
}

#[test]
fn series_are_bounded() {
    let registry = Registry::new();
    for nth in 0..2 * SERIES_MAX {
        registry.counter("c", "C.", &[("n", &nth.to_string())]).increment();
    }
    assert_eq!(registry.render().lines().count(), 2 + SERIES_MAX);
}

#[test]
#[should_panic(expected = "is not a metric name")]
fn malformed_names_are_bugs() {
    Registry::new().counter("9lives", "C.", &[]);
}

#[test]
#[should_panic(expected = "registered as another kind")]
fn one_name_is_one_kind() {
    let registry = Registry::new();
    registry.counter("c", "C.", &[]);
    registry.gauge("c", "C.", &[("a", "b")]);
}
