//! Facts about plans.

use proptest::prelude::*;

use super::*;

/// Whose numbers are easy to reckon with.
fn plain() -> Assumptions {
    Assumptions {
        events: 1_000_000,
        event: 936,
        batch: 128,
        core: 100_000,
        busy: 50,
        cores: 4,
        zones: 3,
        in_flight: 256 << 20,
        connections: 10_000,
        outage_ms: 600_000,
        disk_write: 1_000_000_000,
        disk: 80,
        consumer: 20_000,
        groups: 2,
        linger_ms: 5,
        compressed: 50,
        replication: 3,
        broker_write: 100_000_000,
        broker_partitions: 4000,
        retention_ms: 86_400_000,
    }
}

#[test]
fn a_plan_by_hand() {
    let plan = Plan::of(&plain());
    assert_eq!((plan.events_per_core, plan.events_per_core_spooling, plan.requests), (100_000, 52_631, 7813));
    // 1,000,000 / (100,000 x 4 x 0.5) = 5, in two of three zones.
    assert_eq!((plan.replicas_needed, plan.replicas_lost, plan.replicas, plan.cores), (5, 3, 9, 36));
    assert_eq!(plan.bound, Bound::Processor);
    // Of 36 and of 24 cores: 10 busy ones, and 19 while they spool.
    assert_eq!((plan.busy, plan.busy_left, plan.busy_spooling), (28, 42, 80));
    assert_eq!(plan.memory, (256 << 20) + (64 << 20) + 80_000_000);
    // Seven eighths of the budget over 1250 B x 166,667 events a second.
    assert_eq!(plan.budget_lasts_ms, 1127);
    // 936 + 58 + 4 + 1 B of an event for 600 s at 166,667 events a second, in 80 %.
    assert_eq!((plan.spool, plan.spool_write), (124_875_000_000, 166_500_000));
    assert_eq!((plan.network_in, plan.network_out), (156_781_300, 83_666_667));
    // 1,000,000 / 20,000 x 2; 502 MB/s x 3 / 100 MB/s is 15.06, in three zones.
    assert_eq!((plan.partitions, plan.brokers), (100, 18));
    assert_eq!(plan.keyed_batch_hundredths, 833);
    assert_eq!((plan.broker_write, plan.broker_out), (83_666_667, 111_555_556));
    assert_eq!(plan.broker_disk, 9_036_000_000_000);
}

#[test]
fn without_an_outage_there_is_no_spool_and_no_id() {
    let plan = Plan::of(&Assumptions { outage_ms: 0, ..plain() });
    assert_eq!((plan.spool, plan.spool_write, plan.busy_spooling), (0, 0, 0));
    assert!(plan.network_out < Plan::of(&plain()).network_out);
    assert!(plan.budget_lasts_ms > Plan::of(&plain()).budget_lasts_ms);
}

#[test]
fn what_runs_out_first_decides_about_the_replicas() {
    let disk = Plan::of(&Assumptions { disk_write: 50_000_000, ..plain() });
    assert_eq!((disk.bound, disk.replicas_needed), (Bound::SpoolDisk, 20));
    let spooling = Plan::of(&Assumptions { busy: 100, ..plain() });
    assert_eq!((spooling.bound, spooling.replicas_needed), (Bound::ProcessorSpooling, 5));
    assert_eq!(Plan::of(&Assumptions { busy: 100, outage_ms: 0, ..plain() }).replicas_needed, 3);
}

#[test]
fn one_more_than_needed_or_a_zone_more() {
    for (needed, zones, all) in [(1, 1, (2, 1)), (5, 1, (6, 1)), (1, 2, (2, 1)), (5, 2, (10, 5)), (5, 3, (9, 3))] {
        assert_eq!(with_a_spare(needed, zones), all, "{needed} in {zones}");
    }
}

#[test]
fn every_broker_leads_a_partition_and_none_holds_too_many() {
    let few = Plan::of(&Assumptions { events: 1, ..plain() });
    assert_eq!((few.partitions, few.brokers), (3, 3));
    let many = Plan::of(&Assumptions { broker_partitions: 10, ..plain() });
    assert_eq!((many.partitions, many.brokers), (100, 30));
}

#[test]
fn numbers_that_are_too_large_stay_numbers() {
    let huge = Assumptions {
        events: 1_000_000_000_000,
        event: 100 << 20,
        batch: 1_000_000,
        core: 1,
        busy: 1,
        cores: 1_000_000,
        zones: 1_000_000,
        in_flight: u64::MAX,
        connections: 1_000_000,
        outage_ms: u64::MAX,
        disk_write: 1,
        disk: 1,
        consumer: 1,
        groups: 1_000_000,
        linger_ms: u64::MAX,
        compressed: 100,
        replication: 1_000_000,
        broker_write: 1,
        broker_partitions: 1,
        retention_ms: u64::MAX,
    };
    let plan = Plan::of(&huge);
    assert!(plan.spool > 0 && plan.brokers > 0 && plan.broker_disk > 0);
    Plan::of(&Assumptions { zones: 1, cores: 1, ..huge });
}

prop_compose! {
    fn any_assumptions()(
        (events, event, batch) in (1u64..1_000_000_000, 1u64..100_000, 1u64..2000),
        (core, busy, cores, zones) in (1000u64..2_000_000, 1u64..=100, 1u64..128, 1u64..9),
        (outage_ms, disk_write, consumer) in (0u64..10_000_000, 1_000_000u64..4_000_000_000, 10u64..1_000_000),
        (compressed, replication, broker_write) in (1u64..=100, 1u64..5, 1_000_000u64..1_000_000_000),
    ) -> Assumptions {
        Assumptions {
            events, event, batch, core, busy, cores, zones, outage_ms, disk_write, consumer, compressed, replication,
            broker_write, ..plain()
        }
    }
}

proptest! {
    #[test]
    fn more_events_never_need_fewer_of_anything(of in any_assumptions(), more in 1u64..1_000_000_000) {
        let (less, more) = (Plan::of(&of), Plan::of(&Assumptions { events: of.events + more, ..of }));
        prop_assert!(less.replicas_needed <= more.replicas_needed && less.replicas <= more.replicas);
        prop_assert!(less.cores <= more.cores && less.requests <= more.requests);
        prop_assert!(less.partitions <= more.partitions && less.brokers <= more.brokers);
    }

    #[test]
    fn what_is_left_of_a_lost_zone_carries_the_load(of in any_assumptions()) {
        let plan = Plan::of(&of);
        let left = plan.replicas - plan.replicas_lost;
        prop_assert!(left >= plan.replicas_needed && left >= 1);
        prop_assert!(plan.busy_left <= of.busy, "{plan:?}");
        prop_assert!(plan.busy_spooling <= 100 && plan.spool_write <= of.disk_write, "{plan:?}");
        if of.zones > 1 {
            prop_assert_eq!((plan.replicas % of.zones, plan.brokers % of.zones), (0, 0));
        }
        // The same number of replicas holds what comes in during the outage.
        let came = u128::from(of.events) * u128::from(of.event) * u128::from(of.outage_ms) / 1000;
        let held = u128::from(plan.spool) * u128::from(left) * u128::from(of.disk) / 100;
        prop_assert!(held >= came, "{plan:?}");
    }

    #[test]
    fn kafka_keeps_up(of in any_assumptions()) {
        let plan = Plan::of(&of);
        prop_assert!(plan.partitions * of.consumer >= 2 * of.events);
        prop_assert!(plan.broker_write <= of.broker_write && plan.brokers >= of.replication, "{plan:?}");
        prop_assert!(plan.partitions >= plan.brokers);
    }

    #[test]
    fn more_or_busier_cores_never_need_more_replicas(of in any_assumptions()) {
        let plan = Plan::of(&of);
        let larger = Plan::of(&Assumptions { cores: of.cores + 1, ..of.clone() });
        let busier = Plan::of(&Assumptions { busy: 100, ..of });
        prop_assert!(larger.replicas <= plan.replicas && busier.replicas <= plan.replicas);
    }
}
