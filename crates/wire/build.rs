//! Compiles our own `.proto` files; protox needs no `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/recording.proto", "proto/wire.proto"], ["proto"])?;
    prost_build::Config::new()
        // It holds the channel's key.
        .skip_debug(["relay.wire.ChannelSettings"])
        .compile_fds(files)?;
    Ok(())
}
