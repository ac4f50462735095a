//! The queue against a plain list.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::event::Song;
use crate::ids::TrackId;
use crate::loudness::Gain;
use crate::wire::v1::Track;

fn entry(id: u64, frames: u64) -> Entry {
    let track = Track { frames, sample_rate: 48_000, ..Default::default() };
    let song = Arc::new(Song::of(TrackId([0; 32]), &track));
    Entry { id: EntryId(id), song, added_by: "ann".into(), gain: Gain(0) }
}

#[derive(Clone, Debug)]
enum Step {
    /// Before the entry of this rank; at the end.
    Insert(prop::sample::Index),
    Last,
    Remove(prop::sample::Index),
    PopFront,
    /// What was popped last comes back.
    PushFront,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => any::<prop::sample::Index>().prop_map(Step::Insert),
        4 => Just(Step::Last),
        2 => any::<prop::sample::Index>().prop_map(Step::Remove),
        1 => Just(Step::PopFront),
        1 => Just(Step::PushFront),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    #[test]
    fn it_is_a_list(steps in steps()) {
        let (mut queue, mut list) = (Queue::default(), Vec::<Entry>::new());
        let mut popped = None;
        for (id, step) in (1..).zip(steps) {
            let new = entry(id, 1 + id % 7);
            match step {
                Step::Insert(rank) if !list.is_empty() => {
                    let index = rank.index(list.len());
                    prop_assert_eq!(queue.insert(new.clone(), Some(list[index].id)), Some(index));
                    list.insert(index, new);
                }
                Step::Insert(_) | Step::Last => {
                    prop_assert_eq!(queue.insert(new.clone(), None), Some(list.len()));
                    list.push(new);
                }
                Step::Remove(rank) if !list.is_empty() => {
                    let index = rank.index(list.len());
                    let removed = list.remove(index);
                    prop_assert_eq!(queue.remove(removed.id), Some((index, removed)));
                }
                Step::PopFront if !list.is_empty() => {
                    popped = Some(list.remove(0));
                    prop_assert_eq!(queue.pop_front(), popped.clone());
                }
                Step::PushFront => {
                    if let Some(entry) = popped.take() {
                        list.insert(0, entry.clone());
                        queue.push_front(entry);
                    }
                }
                Step::Remove(_) | Step::PopFront => prop_assert_eq!(queue.pop_front(), None),
            }
            prop_assert!(queue.tree.is_balanced());
            prop_assert_eq!(queue.len(), list.len());
            prop_assert!(queue.iter().eq(list.iter().cloned()));
        }
        let mut begin = Flicks::ZERO;
        for (index, entry) in list.iter().enumerate() {
            prop_assert_eq!(queue.get(index), Some(entry.clone()));
            prop_assert_eq!(queue.index_of(entry.id), Some(index));
            prop_assert_eq!(queue.sounding(begin), (index, begin));
            let end = begin + entry.length();
            prop_assert_eq!(queue.sounding(end - Flicks(1)), (index, begin));
            begin = end;
        }
        prop_assert_eq!(queue.sounding(begin), (list.len(), begin));
        prop_assert_eq!(queue.get(list.len()), None);
        prop_assert_eq!(&list.into_iter().collect::<Queue>(), &queue);
    }
}

#[test]
fn an_entry_is_in_the_queue_once() {
    let mut queue: Queue = [entry(1, 5), entry(2, 5)].into_iter().collect();
    assert_eq!(queue.insert(entry(1, 9), None), None);
    queue.push_front(entry(2, 9));
    assert_eq!(queue, [entry(1, 5), entry(2, 5)].into_iter().collect());
}

#[test]
fn labels_are_given_out_anew_when_they_run_out() {
    let mut queue: Queue = [entry(1, 5), entry(2, 5)].into_iter().collect();
    // Each one just before the second: the labels between them are halved each time.
    for id in 3..1000 {
        assert_eq!(queue.insert(entry(id, 5), Some(EntryId(2))), Some(id as usize - 2));
    }
    let ids: Vec<u64> = queue.iter().map(|entry| entry.id.0).collect();
    assert_eq!(ids, [1].into_iter().chain(3..1000).chain([2]).collect::<Vec<_>>());
}
