//! Changes of ResourceClaims: allocation, reservation and the finalizer that keeps an allocated claim.
//!
//! Kubernetes: pkg/apis/resource/validation/validation.go (validateResourceClaimStatusUpdate), and what the scheduler checks
//! each time that it reads a claim again (pkg/scheduler/framework/plugins/dynamicresources, bindClaim).

use crate::model::Name;
use crate::model::device::{CLAIM_FINALIZER, Consumer, MOST_CONSUMERS, ResourceClaim};
use crate::protocol::api::{ClaimChange, Status, StatusReason};

use super::parts;

/// The claim with a change.
pub(super) fn changed(claim: &ResourceClaim, change: ClaimChange) -> Result<ResourceClaim, Status> {
    let name = format!("{}/{}", claim.meta.namespace, claim.meta.name);
    let conflict = |why: &str| Err(Status::new(StatusReason::Conflict, format!("claim {name} {why}")));
    let mut new = claim.clone();
    let taken_up = matches!(change, ClaimChange::Protect | ClaimChange::Allocate(..) | ClaimChange::Reserve(_));
    if taken_up && claim.meta.deletion.is_some() {
        return conflict("got deleted in the meantime");
    }
    match change {
        ClaimChange::Protect => {
            if claim.status.allocation.is_some() {
                return conflict("got allocated elsewhere in the meantime");
            }
            let finalizer = Name::new(CLAIM_FINALIZER);
            if !new.meta.finalizers.contains(&finalizer) {
                new.meta.finalizers.push(finalizer);
            }
        }
        ClaimChange::Allocate(allocation, consumer) => {
            if claim.status.allocation.is_some() {
                return conflict("got allocated elsewhere in the meantime");
            }
            new.status.allocation = Some(allocation);
            reserve(&mut new, consumer)?;
        }
        ClaimChange::Reserve(consumer) => {
            if claim.status.allocation.is_none() {
                let why = "status.reservedFor: Forbidden: may not be specified when `allocated` is not set";
                let why = format!("ResourceClaim.resource.k8s.io \"{}\" is invalid: {why}", claim.meta.name);
                return Err(Status::new(StatusReason::Invalid, why));
            }
            reserve(&mut new, consumer)?;
        }
        ClaimChange::Release(gone) => new.status.reserved_for.retain(|consumer| !gone.contains(&consumer.uid)),
        ClaimChange::Deallocate(pod) => {
            if claim.status.reserved_for.iter().any(|consumer| consumer.uid != pod) {
                return conflict("is in use");
            }
            deallocate(&mut new);
        }
        ClaimChange::Unallocate => {
            if claim.status.reserved_for.is_empty() {
                deallocate(&mut new);
                new.meta.finalizers = parts::without(&claim.meta.finalizers, CLAIM_FINALIZER);
            }
        }
    }
    Ok(new)
}

fn reserve(claim: &mut ResourceClaim, consumer: Consumer) -> Result<(), Status> {
    if claim.is_reserved_for(consumer.uid) {
        return Ok(());
    }
    if !claim.has_room() {
        let found = claim.status.reserved_for.len() + 1;
        let why = format!("status.reservedFor: Too many: {found}: must have at most {MOST_CONSUMERS} items");
        let why = format!("ResourceClaim.resource.k8s.io \"{}\" is invalid: {why}", claim.meta.name);
        return Err(Status::new(StatusReason::Invalid, why));
    }
    claim.status.reserved_for.push(consumer);
    Ok(())
}

fn deallocate(claim: &mut ResourceClaim) {
    claim.status.allocation = None;
    claim.status.reserved_for.clear();
    claim.status.devices.clear();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::device::{Allocation, ClaimStatus};
    use crate::model::{Deletion, Meta, Uid};

    fn pod(number: u64) -> Consumer {
        Consumer { pod: Name::from(format!("p{number}")), uid: Uid(number) }
    }

    /// A claim with so many consumers; allocated if it has one, or if it is said.
    fn claim(allocated: bool, consumers: u64) -> ResourceClaim {
        let allocation = (allocated || consumers > 0).then(Arc::<Allocation>::default);
        let reserved_for = (1..=consumers).map(pod).collect();
        let status = ClaimStatus { allocation, reserved_for, ..ClaimStatus::default() };
        ResourceClaim { meta: Meta::named("ns", "gpu"), status, ..ResourceClaim::default() }
    }

    #[track_caller]
    fn check(claim: &ResourceClaim, change: ClaimChange, wanted: &str) {
        let got = match changed(claim, change) {
            Ok(new) => {
                let (allocated, consumers) = (new.status.allocation.is_some(), new.status.reserved_for.len());
                format!("allocated {allocated}, {consumers} consumers, {} finalizers", new.meta.finalizers.len())
            }
            Err(status) => status.message.to_string(),
        };
        assert_eq!(got, wanted);
    }

    #[test]
    fn a_claim_is_allocated_once_and_shared_by_256_pods() {
        let allocate = || ClaimChange::Allocate(Arc::default(), pod(300));
        check(&claim(false, 0), ClaimChange::Protect, "allocated false, 0 consumers, 1 finalizers");
        check(&claim(false, 0), allocate(), "allocated true, 1 consumers, 0 finalizers");
        check(&claim(true, 0), allocate(), "claim ns/gpu got allocated elsewhere in the meantime");
        check(&claim(true, 255), ClaimChange::Reserve(pod(300)), "allocated true, 256 consumers, 0 finalizers");
        check(&claim(true, 255), ClaimChange::Reserve(pod(1)), "allocated true, 255 consumers, 0 finalizers");
        let full = "ResourceClaim.resource.k8s.io \"gpu\" is invalid: status.reservedFor: Too many: 257: must have at most 256 items";
        check(&claim(true, 256), ClaimChange::Reserve(pod(300)), full);
        let none = "ResourceClaim.resource.k8s.io \"gpu\" is invalid: status.reservedFor: Forbidden: may not be specified when `allocated` is not set";
        check(&claim(false, 0), ClaimChange::Reserve(pod(300)), none);
    }

    #[test]
    fn a_claim_that_is_being_deleted_is_neither_allocated_nor_reserved() {
        let mut going = claim(true, 0);
        going.meta.deletion = Some(Deletion { at: Default::default(), grace: Default::default() });
        check(&going, ClaimChange::Reserve(pod(1)), "claim ns/gpu got deleted in the meantime");
        check(&going, ClaimChange::Unallocate, "allocated false, 0 consumers, 0 finalizers");
    }

    #[test]
    fn a_claim_in_use_keeps_its_allocation() {
        check(&claim(true, 2), ClaimChange::Release(vec![Uid(1)]), "allocated true, 1 consumers, 0 finalizers");
        check(&claim(true, 1), ClaimChange::Unallocate, "allocated true, 1 consumers, 0 finalizers");
        check(&claim(true, 1), ClaimChange::Deallocate(Uid(2)), "claim ns/gpu is in use");
        check(&claim(true, 1), ClaimChange::Deallocate(Uid(1)), "allocated false, 0 consumers, 0 finalizers");
    }
}
