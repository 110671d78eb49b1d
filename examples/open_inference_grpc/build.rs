//! Makes Rust of the protocol's file, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let described = protox::compile(["open_inference.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_client(false)
        // What an empty input takes in memory is many times what it takes in a message: the less, the better.
        .btree_map(".")
        .boxed(".inference.ModelInferRequest.InferInputTensor.contents")
        // The library gives these in JSON, whose names are those of the messages.
        .type_attribute(".inference.ServerMetadataResponse", "#[derive(serde::Deserialize)]")
        .type_attribute(".inference.ModelMetadataResponse", "#[derive(serde::Deserialize)]")
        .type_attribute(".inference.RepositoryIndexResponse.ModelIndex", "#[derive(serde::Deserialize)]")
        .compile_fds(described)?;
    Ok(())
}
