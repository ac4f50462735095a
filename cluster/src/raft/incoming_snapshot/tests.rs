use futures_util::stream;
use tonic::Code;

use super::*;

fn parts(bytes: &[&'static [u8]]) -> impl Stream<Item = Result<Part, Status>> + Unpin + use<> {
    let parts: Vec<_> =
        bytes.iter().map(|bytes| Ok(Part::Bytes(Bytes::from_static(bytes)))).collect();
    stream::iter(parts)
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

type TestResult = Result<(), Box<dyn std::error::Error>>;

#[tokio::test]
async fn what_comes_is_bounded_and_leaves_nothing_behind() -> TestResult {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("7.part"), "left by a process that was killed")?;
    let snapshots = IncomingSnapshots::open(&World::real(), folder.path())?;
    assert_eq!(files(folder.path()), 0);

    let whole = snapshots.begin()?.receive(5, parts(&[b"abc", b"de"])).await?;
    assert_eq!(&whole[..], b"abcde");
    let code = |announced, bytes: &[&'static [u8]]| {
        let (snapshots, parts) = (snapshots.clone(), parts(bytes));
        async move {
            let received = snapshots.begin()?.receive(announced, parts).await;
            Ok::<_, Status>(received.err().map(|status| status.code()))
        }
    };
    assert_eq!(code(5, &[b"abc"]).await?, Some(Code::InvalidArgument), "cut off");
    assert_eq!(code(2, &[b"abc"]).await?, Some(Code::InvalidArgument), "too long");
    assert_eq!(code(3, &[b"", b"abc"]).await?, Some(Code::InvalidArgument), "an empty part");
    assert_eq!(code(u64::MAX, &[]).await?, Some(Code::ResourceExhausted));
    assert_eq!(files(folder.path()), 0);
    Ok(())
}

#[tokio::test]
async fn few_are_on_their_way_at_one_time() -> TestResult {
    let folder = tempfile::tempdir()?;
    let snapshots = IncomingSnapshots::open(&World::real(), folder.path())?;
    let (first, second) = (snapshots.begin()?, snapshots.begin()?);
    let refused = snapshots.begin().err().map(|status| status.code());
    assert_eq!(refused, Some(Code::ResourceExhausted));
    drop(first);
    snapshots.begin()?;
    drop(second);
    Ok(())
}

#[tokio::test]
async fn one_that_brings_nothing_is_given_up() -> TestResult {
    let folder = tempfile::tempdir()?;
    let snapshots = IncomingSnapshots::open(&World::real(), folder.path())?;
    let mut incoming = snapshots.begin()?;
    incoming.deadline = Instant::now();
    let nothing = stream::pending::<Result<Part, Status>>();
    let late = incoming.receive(5, nothing).await.err().map(|status| status.code());
    assert_eq!(late, Some(Code::DeadlineExceeded));
    Ok(())
}

#[test]
fn only_what_this_build_can_go_on_from_passes() {
    let content = |snapshot: ShardSnapshot| check_content(snapshot.encode_to_vec().into());
    assert_eq!(content(Shard::default().to_wire()), Ok(()));
    let newer = ShardSnapshot { level: u32::MAX, ..Default::default() };
    assert!(content(newer).is_err_and(|why| why.contains("newer jamd")));
    let room = jam_proto::wire::v1::RoomSnapshot::default();
    assert!(content(ShardSnapshot { rooms: vec![room], ..Default::default() }).is_err());
    assert!(check_content(Bytes::from_static(b"garbage")).is_err());
}
