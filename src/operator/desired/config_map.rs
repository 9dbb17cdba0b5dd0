//! The ConfigMap: the pipeline as its agents read it.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{CONFIG_HASH, text_map};
use crate::pipeline::placement::Placement;
use crate::pipeline::{LogPipeline, config_hash};
use crate::yaml;

/// The ConfigMap with the one key `pipeline.yaml`. Where agents run is not in it: they do not ask.
pub(super) fn config_map(pipeline: &LogPipeline, meta: ObjectMeta) -> ConfigMap {
    let mut config = pipeline.clone();
    config.spec.placement = None::<Placement>;
    config.metadata.labels = None;
    config.metadata.annotations = None;
    ConfigMap {
        metadata: ObjectMeta { annotations: Some(text_map(&[(CONFIG_HASH, &config_hash(pipeline))])), ..meta },
        data: Some(text_map(&[("pipeline.yaml", &yaml::write(&config))])),
        ..ConfigMap::default()
    }
}
