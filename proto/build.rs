//! Compiles the `.proto` files with protox, so that nobody needs protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=wire");
    let mut files: Vec<_> = std::fs::read_dir("wire")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let descriptors = protox::compile(&files, ["wire"])?;
    let rpc = std::env::var_os("CARGO_FEATURE_RPC").is_some();
    tonic_prost_build::configure()
        .codec_path("crate::codec::Lean")
        .build_client(rpc)
        .build_server(rpc)
        .bytes(".jam.v1.FetchChunk.data")
        .bytes(".jam.v1.UploadChunk.data")
        .bytes(".jam.v1.SegmentChunk")
        .bytes(".jam.v1.Rendition.manifest")
        .bytes(".jam.peer.v1")
        .compile_fds(descriptors)?;
    Ok(())
}
