//! Whatever is asked in whatever order, with whatever faults: no panic, no call answered twice, and the state makes sense.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::protocol::cri::{ContainerState, SandboxState};
use crate::runtime::simulated::behavior::{End, Ends, Growth};

#[derive(Clone, Debug)]
enum Step {
    Run(u64, u32),
    Stop(usize),
    Remove(usize),
    Create(usize, u32),
    Start(usize),
    StopContainer(usize, u64),
    RemoveContainer(usize),
    Exec(usize, u64),
    Pull(u8),
    RemoveImage(u8),
    Read,
    Fault(u8),
    Play(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1u64..4, 0u32..2).prop_map(|(pod, attempt)| Step::Run(pod, attempt)),
        (0usize..4).prop_map(Step::Stop),
        (0usize..4).prop_map(Step::Remove),
        (0usize..4, 0u32..2).prop_map(|(sandbox, attempt)| Step::Create(sandbox, attempt)),
        (0usize..6).prop_map(Step::Start),
        (0usize..6, 0u64..5).prop_map(|(container, timeout)| Step::StopContainer(container, timeout)),
        (0usize..6).prop_map(Step::RemoveContainer),
        (0usize..6, 0u64..3).prop_map(|(container, timeout)| Step::Exec(container, timeout)),
        (0u8..4).prop_map(Step::Pull),
        (0u8..4).prop_map(Step::RemoveImage),
        Just(Step::Read),
        (0u8..10).prop_map(Step::Fault),
        (1u64..5_000).prop_map(Step::Play),
    ]
}

fn registry(image: Name) -> Result<Arc<Manifest>, pull::Error> {
    match image.as_str() {
        "docker.io/library/image-0:latest" => Ok(manifest("0", &[(1, 3), (2, 1), (3, 1)])),
        "docker.io/library/image-1:latest" => Ok(manifest("1", &[(1, 3), (4, 2), (2, 1)])),
        "docker.io/library/image-2:latest" => Ok(manifest("2", &[(1, 3), (9, 666), (4, 2), (5, 1)])),
        _ => Err(pull::Error::NotFound),
    }
}

/// Ids that were given, and some that were not.
fn ids(world: &World) -> (Vec<SandboxId>, Vec<ContainerId>) {
    let (mut sandboxes, mut containers) = (Vec::new(), Vec::new());
    for (_, result) in world.answers.values() {
        match result {
            Ok(Answer::Sandbox(id)) => sandboxes.push(*id),
            Ok(Answer::Container(id)) => containers.push(*id),
            _ => {}
        }
    }
    sandboxes.push(SandboxId(77));
    containers.push(ContainerId(77));
    (sandboxes, containers)
}

fn take(world: &mut World, step: &Step) {
    let (sandboxes, containers) = ids(world);
    let sandbox = |at: usize| sandboxes[at % sandboxes.len()];
    let container_id = |at: usize| containers[at % containers.len()];
    let image = |number: u8| Name::new(&format!("image-{number}"));
    let everything = (Name::default(), Name::default(), Name::default());
    let (namespace, pod, container_name) = everything;
    let call = match step {
        Step::Run(pod, attempt) => Call::RunPodSandbox(pod_config(*pod, *attempt)),
        Step::Stop(at) => Call::StopPodSandbox(sandbox(*at)),
        Step::Remove(at) => Call::RemovePodSandbox(sandbox(*at)),
        Step::Create(at, attempt) => Call::CreateContainer {
            sandbox: sandbox(*at),
            config: Arc::new(ContainerConfig { attempt: *attempt, ..container(&["sh", "-c", "sleep 9"]) }),
        },
        Step::Start(at) => Call::StartContainer(container_id(*at)),
        Step::StopContainer(at, timeout) => {
            Call::StopContainer { container: container_id(*at), timeout: Duration::from_secs(*timeout) }
        }
        Step::RemoveContainer(at) => Call::RemoveContainer(container_id(*at)),
        Step::Exec(at, timeout) => Call::ExecSync {
            container: container_id(*at),
            command: ["sleep", "2"].into_iter().map(Text::new).collect(),
            timeout: Duration::from_secs(*timeout),
        },
        Step::Pull(number) => Call::PullImage { image: image(*number), auth: None, sandbox: None },
        Step::RemoveImage(number) => Call::RemoveImage { image: image(*number) },
        Step::Read => Call::ListContainerStats,
        Step::Fault(kind) => {
            return world.fault(match kind {
                0 => Fault::PowerOff,
                1 => Fault::PowerOn,
                2 => Fault::Stopped,
                3 => Fault::Hung,
                4 | 5 => Fault::Restored,
                6 => Fault::NetworkHangs(true),
                7 => Fault::NetworkHangs(false),
                8 => Fault::Exit { namespace, pod, container: container_name, code: 3 },
                _ => Fault::Oom { namespace, pod, container: container_name },
            });
        }
        Step::Play(millis) => return world.play(*millis),
    };
    world.send(call);
}

fn check(profile: Profile, steps: &[Step]) {
    let behavior = Behavior {
        ends: Some(Ends {
            starts: vec![End::Never],
            later: End::Exit { after: constant(4), code: 1, probability: 0.5 },
        }),
        memory: Some(Growth { start: 1 << 29, per_minute: 1 << 32, ..Growth::default() }),
        ..Behavior::default()
    };
    let config = Config { behaviors: all(behavior).into(), profile: Arc::new(profile), ..World::config() };
    let mut world = World { registry, ..World::with(config) };
    for step in steps {
        take(&mut world, step);
    }
    // Everything works again, and what was asked comes to an end.
    let quiet = [Fault::PowerOn, Fault::Restored, Fault::NetworkHangs(false)];
    let dead = steps.iter().any(|step| matches!(step, Step::Fault(0)));
    quiet.into_iter().for_each(|fault| world.fault(fault));
    world.play(600_000);
    assert!(world.queue.is_empty(), "nothing is left to happen");
    let hung = steps.iter().any(|step| matches!(step, Step::Fault(3 | 6)));
    if !dead && !hung {
        assert_eq!(world.answers.len() as u64, world.calls, "every call is answered");
    }
    let Ok(Answer::Sandboxes(sandboxes)) = world.ask(Call::ListPodSandbox { pod: None }) else { panic!() };
    let Ok(Answer::Containers(containers)) = world.ask(Call::ListContainers { pod: None }) else { panic!() };
    let ready: BTreeSet<SandboxId> =
        sandboxes.iter().filter(|sandbox| sandbox.state == SandboxState::Ready).map(|sandbox| sandbox.id).collect();
    let mut addresses = BTreeSet::new();
    for id in &ready {
        let Ok(Answer::SandboxStatus(status)) = world.ask(Call::PodSandboxStatus(*id)) else { panic!() };
        assert!(addresses.insert(status.ip), "two pods with one address");
    }
    for container in containers {
        assert!(sandboxes.iter().any(|sandbox| sandbox.id == container.sandbox), "a container without a sandbox");
        assert!(container.state != ContainerState::Running || ready.contains(&container.sandbox));
    }
    // What is counted as used is what the images are made of, each layer once.
    for number in 0..3 {
        world.ask(Call::RemoveImage { image: Name::new(&format!("image-{number}")) }).unwrap();
    }
    let Ok(Answer::ImageFs { used_bytes, .. }) = world.ask(Call::ImageFsInfo) else { panic!() };
    assert_eq!(used_bytes, 1000);
}

proptest! {
    #[test]
    fn any_order_of_calls_and_faults_leaves_a_state_that_makes_sense(
        steps in proptest::collection::vec(step(), 1..60),
        runtime in 0usize..3,
    ) {
        let profile = [Profile::containerd(), Profile::cri_o(), Profile::docker()][runtime].clone();
        check(profile, &steps);
    }
}
