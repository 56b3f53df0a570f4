//! KubeSchedulerConfiguration files are taken and refused as kube-scheduler 1.36 does, and become the profiles that it makes.

use std::path::PathBuf;

use serde_json::Value;
use simlet::manifest::Source;
use simlet::scenario::scheduler_config;
use simlet::scheduler::Config;
use simlet::scheduler::framework::Point;
use simlet::scheduler::plugins::{self, Args};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/configs/kube-scheduler")
}

/// What came of a text: the settings, or the messages with their lines and columns.
fn read(name: &str, text: &str) -> (Option<Config>, Vec<String>) {
    let source = Source::new(name, text);
    let (config, problems) = scheduler_config::read(&source, Config::default(), &[]);
    let line = |problem: &simlet::manifest::Problem| {
        let place = source.place(problem.at.start);
        let warning = if problem.is_error() { "" } else { "warning: " };
        let colon = if problem.field.is_empty() { "" } else { ": " };
        format!("{}:{}: {warning}{}{colon}{}", place.line, place.column, problem.field, problem.kind)
    };
    (config, problems.iter().map(line).collect())
}

/// The heart of kube-scheduler's message: what stands in `err="…"`, without where its source says so.
fn heart(message: &str) -> String {
    let error = message.split("err=").nth(1).unwrap_or(message);
    let error = error.trim().trim_matches('"').replace("\\\"", "\"");
    error.split(" in scheme ").next().unwrap_or_default().to_owned()
}

#[test]
fn files_of_others_are_taken_or_refused_as_kube_scheduler_does() {
    let verdicts = std::fs::read_to_string(folder().join("kube-scheduler-verdicts.jsonl")).expect("the verdicts");
    let mut count = 0;
    let mut wrong = Vec::new();
    for line in verdicts.lines() {
        let verdict: Value = serde_json::from_str(line).expect("a JSON line");
        let file = verdict["file"].as_str().expect("a file");
        let text = std::fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let (config, problems) = read(file, &text);
        count += 1;
        let Some(config) = config else {
            let heart = heart(verdict["message"].as_str().unwrap_or_default());
            // A message that the verdicts have only the end of says nothing.
            let says_it = heart.starts_with("duration") || problems.iter().any(|problem| problem.contains(&heart));
            if verdict["verdict"] != "rejected" || !says_it {
                wrong.push(format!("{file}: refused: {problems:#?}, not {heart:?}"));
            }
            continue;
        };
        let profiles = verdict["profiles"].as_array().into_iter().flatten();
        let names: Vec<&str> = config.profiles.iter().map(|profile| profile.scheduler_name.as_str()).collect();
        let wanted: Vec<&str> = profiles.clone().filter_map(|profile| profile["schedulerName"].as_str()).collect();
        if verdict["verdict"] != "accepted" || names != wanted {
            wrong.push(format!("{file}: taken with {names:?}, not {verdict}"));
        }
        for (mine, profile) in config.profiles.iter().zip(profiles) {
            let mine: Vec<&str> = mine.plugins.iter().map(|plugin| plugin.name()).collect();
            let theirs: Vec<&str> =
                profile["multiPoint"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if mine != theirs {
                wrong.push(format!("{file}: {mine:?}, not {theirs:?}"));
            }
        }
    }
    assert!(count > 30, "only {count} files have a verdict");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file with this text under `profiles: [{`.
fn profile(text: &str) -> String {
    let indented = text.replace('\n', "\n  ");
    format!("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n- {indented}\n")
}

#[test]
fn what_kube_scheduler_refuses_is_refused_in_its_words_at_its_place() {
    // Each problem begins with the text that it points at.
    let refused = |text: &str, wanted: &[&str]| {
        let source = Source::new("config.yaml", text);
        let (config, problems) = scheduler_config::read(&source, Config::default(), &[]);
        let shown = |problem: &simlet::manifest::Problem| {
            let at = text.get(problem.at.clone()).unwrap_or_default();
            format!("{}|{}: {}", at.lines().next().unwrap_or_default(), problem.field, problem.kind)
        };
        let problems: Vec<String> = problems.iter().map(shown).collect();
        assert_eq!(problems, wanted, "{text}");
        assert!(config.is_none(), "{text}");
    };
    let args = |plugin: &str, args: &str| profile(&format!("pluginConfig: [{{name: {plugin}, args: {args}}}]"));
    refused(
        &args("NodeResourcesFit", "{scoringStrategy: {type: Best, resources: [{name: cpu, weight: 101}]}}"),
        &[
            "Best|profiles[0].pluginConfig[0].args.scoringStrategy.type: Unsupported value: \"Best\": supported values: \"LeastAllocated\", \"MostAllocated\", \"RequestedToCapacityRatio\"",
            "101|profiles[0].pluginConfig[0].args.scoringStrategy.resources[0].weight: Invalid value: 101: resource weight of cpu not in valid range (0, 100]",
        ],
    );
    refused(
        &args("NodeResourcesFit", "{scoringStrategy: {type: RequestedToCapacityRatio}}"),
        &[
            "scoringStrategy|profiles[0].pluginConfig[0].args.scoringStrategy.requestedToCapacityRatio: Required value: must be specified when type is RequestedToCapacityRatio",
        ],
    );
    refused(
        &args("DefaultPreemption", "{minCandidateNodesPercentage: 200}"),
        &[
            "200|profiles[0].pluginConfig[0].args.minCandidateNodesPercentage: Invalid value: 200: not in valid range [0, 100]",
        ],
    );
    refused(
        &args("InterPodAffinity", "{hardPodAffinityWeigth: 2}"),
        &[
            "hardPodAffinityWeigth|profiles[0].pluginConfig[0].args.hardPodAffinityWeigth: unknown field `hardPodAffinityWeigth`",
        ],
    );
    refused(
        &args(
            "PodTopologySpread",
            "{defaultConstraints: [{maxSkew: 0, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]}",
        ),
        &[
            "args|profiles[0].pluginConfig[0].args.defaultingType: Invalid value: \"System\": when .defaultConstraints are not empty",
            "0|profiles[0].pluginConfig[0].args.defaultConstraints[0].maxSkew: Invalid value: 0: not in valid range (0, inf)",
        ],
    );
    refused(
        &args("NodeName", "{kind: A}").replace("NodeName", "EBSLimits"),
        &[
            "{name: EBSLimits, args: {kind: A}}|profiles[0].pluginConfig[0]: Invalid value: \"EBSLimits\": was invalid in version \"kubescheduler.config.k8s.io/v1\" (KubeSchedulerConfiguration is version \"kubescheduler.config.k8s.io/v1\")",
        ],
    );
    refused(
        &args("NodeResourcesFit", "{kind: InterPodAffinityArgs}"),
        &[
            "args|profiles[0].pluginConfig[0].args: args for plugin NodeResourcesFit were not of type NodeResourcesFitArgs.kubescheduler.config.k8s.io, got InterPodAffinityArgs.kubescheduler.config.k8s.io",
        ],
    );
    refused(
        &profile("plugins: {score: {enabled: [{name: NodePorts}]}}"),
        &[
            "{name: NodePorts}|profiles[0].plugins.score.enabled[0]: initializing profiles: creating profile for scheduler name default-scheduler: plugin \"NodePorts\" does not extend ScorePlugin plugin",
        ],
    );
    refused(
        &profile("plugins: {bind: {disabled: [{name: \"*\"}]}}"),
        &[
            "plugins|profiles[0].plugins: initializing profiles: creating profile for scheduler name default-scheduler: at least one bind plugin is needed for profile with scheduler name \"default-scheduler\"",
        ],
    );
    refused(
        &profile("schedulerName: a\n- schedulerName: a\n- percentageOfNodesToScore: 101").replace("\n  -", "\n-"),
        &[
            "a|profiles[1].schedulerName: Duplicate value: \"profiles[0].schedulerName\"",
            "percentageOfNodesToScore: 101|profiles[2].schedulerName: Required value",
            "101|profiles[2].percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]",
        ],
    );
    refused(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nparallelism: 0\npodMaxBackoffSeconds: 0\n",
        &[
            "0|parallelism: Invalid value: 0: should be an integer value greater than zero",
            "0|podMaxBackoffSeconds: Invalid value: 0: must be greater than or equal to PodInitialBackoffSeconds",
        ],
    );
    refused("", &["|: a KubeSchedulerConfiguration is expected here"]);
}

#[test]
fn a_config_map_that_wraps_a_configuration_is_read_and_problems_stand_where_they_stand() {
    let text = "apiVersion: v1\nkind: ConfigMap\ndata:\n  config.yaml: |\n    apiVersion: kubescheduler.config.k8s.io/v1\n    kind: KubeSchedulerConfiguration\n    podInitialBackoffSeconds: PLACE\n";
    let (config, problems) = read("map.yaml", &text.replace("PLACE", "3"));
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(config.map(|config| config.queue.initial_backoff.as_secs()), Some(3));
    let (_, problems) = read("map.yaml", &text.replace("PLACE", "-3"));
    assert_eq!(problems, ["7:31: podInitialBackoffSeconds: Invalid value: -3: must be greater than 0"]);
}

#[test]
fn plug_ins_run_where_the_file_puts_them() {
    let made = |text: &str| {
        let (config, problems) = read("config.yaml", &profile(text));
        config.unwrap_or_else(|| panic!("{text}: {problems:?}")).profiles.remove(0)
    };
    let every: Vec<String> =
        plugins::defaults(Args::default()).iter().map(|(plugin, _)| plugin.name().to_owned()).collect();
    assert_eq!(every.len(), 20);
    let scoring = |text: &str| {
        let profile = made(text);
        let weight = |idx: &usize| format!("{} {}", profile.plugins[*idx].name(), profile.weight(*idx));
        profile.at(Point::Score).iter().map(weight).collect::<Vec<_>>().join(", ")
    };
    let default = "TaintToleration 3, NodeAffinity 2, NodeResourcesFit 1, VolumeBinding 1, PodTopologySpread 2, InterPodAffinity 2, DynamicResources 2, NodeResourcesBalancedAllocation 1, ImageLocality 1";
    assert_eq!(scoring("schedulerName: x"), default);
    assert_eq!(scoring("plugins: {score: {disabled: [{name: \"*\"}]}}"), "");
    assert_eq!(
        scoring(
            "plugins: {score: {disabled: [{name: \"*\"}], enabled: [{name: ImageLocality, weight: 7}, {name: NodeAffinity}]}}"
        ),
        "ImageLocality 7, NodeAffinity 1"
    );
    // What a point names comes first, and its weight counts before MultiPoint's.
    assert_eq!(
        scoring(
            "plugins: {score: {enabled: [{name: ImageLocality, weight: 7}]}, multiPoint: {enabled: [{name: ImageLocality, weight: 9}, {name: NodeAffinity, weight: 5}]}}"
        ),
        default
            .replace("TaintToleration", "ImageLocality 7, TaintToleration")
            .replace("NodeAffinity 2", "NodeAffinity 5")
            .replace(", ImageLocality 1", "")
    );
    assert_eq!(
        scoring(
            "plugins: {multiPoint: {disabled: [{name: \"*\"}], enabled: [{name: PrioritySort}, {name: DefaultBinder}, {name: NodeResourcesFit, weight: 3}]}}"
        ),
        "NodeResourcesFit 3"
    );
    let profile = made("plugins: {filter: {disabled: [{name: NodePorts}], enabled: [{name: NodeDeclaredFeatures}]}}");
    let names = profile.names_at(Point::Filter);
    assert_eq!((names[0], names.contains(&"NodePorts")), ("NodeDeclaredFeatures", false));
    assert!(profile.names_at(Point::PreFilter).contains(&"NodePorts"));
}

#[test]
fn extenders_are_named_as_not_simulated() {
    let text = profile("schedulerName: default-scheduler")
        + "extenders:\n- urlPrefix: http://scorer.example.com\n  filterVerb: filter\n";
    let (config, problems) = read("config.yaml", &text);
    assert!(config.is_some());
    assert_eq!(
        problems,
        ["6:3: warning: extenders[0]: extenders are not simulated; pods are placed without http://scorer.example.com"]
    );
}

/// Files by name.
struct Named(&'static [(&'static str, &'static str)]);

impl simlet::scenario::Files for Named {
    fn read(&self, path: &str, _: &str) -> Result<Vec<Source>, String> {
        let found = self.0.iter().find(|(name, _)| *name == path);
        found.map(|(name, text)| vec![Source::new(*name, *text)]).ok_or_else(|| format!("{path} is not there"))
    }
}

#[test]
fn a_scenario_names_its_scheduler_s_file() {
    const SCENARIO: &str =
        "apiVersion: simlet.dev/v1\nkind: Scenario\ncluster:\n  scheduler: {config: scheduler.yaml}\n";
    let load = |file: &'static str| {
        let files: &'static [(&str, &str)] = Box::leak(Box::new([("scheduler.yaml", file)]));
        simlet::scenario::load(vec![Source::new("story.yaml", SCENARIO)], &Named(files), &Default::default())
    };
    let good = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\npodMaxBackoffSeconds: 60\nprofiles:\n- schedulerName: mine\n";
    let loaded = load(good).expect("it is a good file");
    let scheduler = &loaded.scenario.config.scheduler;
    assert_eq!((scheduler.profiles[0].scheduler_name.as_str(), scheduler.queue.max_backoff.as_secs()), ("mine", 60));
    assert!(loaded.scenario.header.passed_over.is_empty(), "{:?}", loaded.scenario.header.passed_over);
    let refused = load(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n- plugins: {score: {enabled: [{name: Peaks}]}}\n",
    );
    let text = refused.expect_err("there is no such plug-in");
    assert!(text.contains("scheduler.yaml:4:31") && text.contains("ScorePlugin \"Peaks\" does not exist"), "{text}");
}
