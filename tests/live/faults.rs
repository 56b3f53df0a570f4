//! What goes wrong while a run goes on: real nodes cut off or without a kubelet, a runtime that answers errors, a user who
//! has seen enough.

use std::net::TcpListener;
use std::process::{Child, Stdio};

use tonic::Code;

use super::grpc::Proxy;
use super::machine::{Machine, Said, pass, signal, wait_until};
use super::{AGENT, SLEEPS, check_replay, check_whole_ids, end, log, pod, read, write_scenario};

/// Starts `simlet live` of a scenario on these runtimes.
fn start_on(machine: &Machine, name: &str, runtimes: &[String]) -> Child {
    let scenario = format!("{name}.scenario.yaml");
    let mut command = machine.simlet(&["live", &scenario, "--out", name]);
    command.args(runtimes.iter().flat_map(|runtime| ["--runtime", runtime.as_str()]));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("simlet starts")
}

#[test]
fn two_runtimes_are_two_real_nodes_one_loses_its_kubelet_the_other_its_network_and_pods_run_on() {
    let (left, right) = (Machine::start(17), Machine::start(18));
    let rest = r#"
until: 82s
cluster: {nodes: [{name: left}, {name: right}, {name: sim}]}
timeline:
- {at: 8s, fault: {node: left, kubelet: stopped}, for: 60s}
- {at: 8s, fault: {node: right, network: cut}, for: 16s}
expect:
- {at: 7s, that: 'pods("app=agent").size() == 3 && pods.all(p, p.ready)'}
- {at: 7s, that: 'pods.exists(p, p.node == "left" && p.status.podIP.startsWith("10.201.17."))'}
- {at: 7s, that: 'pods.exists(p, p.node == "right" && p.status.podIP.startsWith("10.201.18."))'}
- {at: 23s, that: 'pods.all(p, p.ready && p.restarts == 0)', name: nobody has said yet what happened meanwhile}
- {at: 67s, that: 'nodes.filter(n, !n.ready).map(n, n.name) == ["left"] && pods.filter(p, !p.ready).map(p, p.node) == ["left"]'}
- {that: 'nodes.all(n, n.ready) && pods.all(p, p.ready)'}
- {that: 'pods.exists(p, p.node == "left" && p.restarts == 1 && p.status.containerStatuses[0].lastState.terminated.exitCode == 137)'}
- {that: 'pods.exists(p, p.node == "right" && p.restarts == 1)'}
"#;
    write_scenario(&left, "two", AGENT, rest);
    let runtimes = [format!("right={}", right.address()), format!("left={}", left.address())];
    let child = start_on(&left, "two", &runtimes);
    wait_until("both real pods run", || left.running() == 2 && right.running() == 2);
    pass(10_000);
    // A container ends that no kubelet watches; where only the network is cut, the kubelet starts it again at once.
    for machine in [&left, &right] {
        let main = |machine: &Machine| {
            let containers =
                machine.ctr(&["containers", "list", "-q", r#"labels."io.kubernetes.container.name"==main"#]);
            containers.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        machine.ctr(&["tasks", "kill", "-s", "SIGKILL", &main(machine)[0]]);
    }
    wait_until("the cut node's kubelet starts its container again", || right.running() == 2);
    assert_eq!(left.running(), 1, "nobody starts it while the kubelet is stopped");
    end(&left, "two", child);
    left.check_nothing_is_left();
    right.check_nothing_is_left();
}

#[test]
fn errors_of_the_runtime_are_told_retried_and_leave_nothing_behind() {
    let machine = Machine::start(20);
    let proxy = Proxy::start(machine.folder.join("proxy.sock"), machine.socket());
    let sleeping = |name| pod(name, SLEEPS, "terminationGracePeriodSeconds: 0");
    let pods = [sleeping("homeless"), sleeping("bodiless"), sleeping("unlucky")];
    let later = [
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: my-web}\nspec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}]}\n".to_owned(),
        pod("told", "command: [sh, -c, 'echo $MY_WEB_SERVICE_HOST $MY_WEB_PORT_80_TCP; sleep 1000']", "terminationGracePeriodSeconds: 0"),
    ];
    let rest = r#"
until: 30s
expect:
- {that: 'events.exists(e, e.object == "Pod/homeless" && e.reason == "FailedCreatePodSandBox" && e.message == "Failed to create pod sandbox: rpc error: code = Unknown desc = no space left on device")'}
- {that: 'events.exists(e, e.object == "Pod/bodiless" && e.reason == "Failed" && e.message == "Error: no inodes left")'}
- {that: 'events.exists(e, e.reason == "Failed" && e.message == "Error: no memory for runc")'}
- {that: 'pods.all(p, p.ready)'}
- {that: 'nodes.all(n, n.ready)'}
"#;
    write_scenario(&machine, "errors", &pods.concat(), &format!("timeline: [{{at: 22s, apply: later.yaml}}]\n{rest}"));
    machine.write("later.yaml", &later.concat());
    proxy.fails("RunPodSandbox", "homeless", 1, Code::Unknown, "no space left on device");
    proxy.fails("CreateContainer", "bodiless", 1, Code::Unknown, "no inodes left");
    proxy.fails("StartContainer", "", 1, Code::Unknown, "no memory for runc");
    proxy.fails("ContainerStatus", "", 1, Code::Unknown, "the store is locked");
    proxy.fails("ListPodSandbox", "", 3, Code::Unavailable, "transport is closing");
    let child = start_on(&machine, "errors", std::slice::from_ref(&proxy.address));
    end(&machine, "errors", child);
    assert_eq!(proxy.to_come(), 0, "everything that was to fail did");
    machine.check_nothing_is_left();
    assert_eq!(log(&machine, "errors", "told", "main", 0), "10.96.0.7 tcp://10.96.0.7:80");
    check_whole_ids(&read(&machine, "errors/final/pods.yaml"));
    let why = Said::from(machine.simlet(&["why", "pod/told", "errors"]).output().expect("simlet runs"));
    assert!(why.out.contains("containerd://"), "a report names containers as their runtime does: {}", why.out);
}

#[test]
fn ctrl_c_while_an_image_is_pulled_ends_the_run_at_once_and_leaves_nothing_behind() {
    let machine = Machine::start(21);
    // A registry that listens and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let image = format!("localhost:{}/slow:1", silent.local_addr().expect("its address").port());
    let slow = pod("slow", SLEEPS, "").replace("localhost/busybox:1", &image);
    machine.write("slow.yaml", &format!("{slow}{}", pod("quick", SLEEPS, "terminationGracePeriodSeconds: 0")));
    let mut command = machine.simlet(&["live", "slow.yaml", "--runtime", &machine.address(), "--out", "slow"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("simlet starts");
    wait_until("the pull has begun", || {
        machine.running() == 3 && machine.log().contains(&format!("PullImage \\\"{image}\\\""))
    });
    signal(&child, "INT");
    let mut tenths = 0;
    while child.try_wait().expect("simlet's state").is_none() {
        pass(100);
        tenths += 1;
        assert!(tenths < 80, "the run does not end");
    }
    let said = Said::from(child.wait_with_output().expect("simlet's words"));
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    check_replay(&machine, "slow");
    machine.check_nothing_is_left();
}
