//! Processes that share a cache of prepared forms.

use std::fs;
use std::path::Path;

use switchback::Model;
use switchback::model::onnx::ndarray::ArrayD;
use switchback::model::onnx::{OnnxModel, PreparedCache, Tensors};

use crate::common::Folder;
use crate::common::matrix::matrix_model;
use crate::harness::tests;

tests! { "prepared": processes_that_make_the_same_entry_all_have_it }

const SIDE: u64 = 64;

fn cache(folder: &Path) -> PreparedCache {
    PreparedCache::open(folder).unwrap().smallest(0)
}

fn model(cache: &PreparedCache) -> OnnxModel {
    OnnxModel::from_bytes("matrix", matrix_model(SIDE, 3.0)).unwrap().pool_size(2).prepared(cache)
}

/// Loads the one model, from its entry or by making it, and asks it.
pub(crate) fn child(told: &[String]) {
    let [folder] = told else { panic!("{told:?}") };
    let model = model(&cache(Path::new(folder)));
    model.load().unwrap();
    assert!(switchback::versions::Lifecycle::description(&model).prepared);
    let ones = Tensors::new().with("x", ArrayD::<f32>::ones(vec![1, SIDE as usize])).unwrap();
    assert!(model.predict(&ones).unwrap().get::<f32>("y").unwrap()[[0, 0]] > 0.0);
}

/// Invariant 22.
fn processes_that_make_the_same_entry_all_have_it() {
    for _ in 0..5 {
        let folder = Folder::new();
        let folder = folder.0.join("cache");
        let start = |_| crate::child("prepared").arg(&folder).spawn().unwrap();
        let children: Vec<_> = (0..3).map(start).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let cache = cache(&folder);
        let entries = fs::read_dir(cache.folder()).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir());
        assert_eq!(entries.count(), 1);
        model(&cache).load().unwrap();
        assert_eq!((cache.counts().made, cache.counts().broken), (0, 0));
    }
}
