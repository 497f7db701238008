#!/usr/bin/env bash
# Writes every generated file: deepcopy, CRDs, RBAC (into config/ and the chart), and
# the manifests of config/default, which are the chart's.
set -euo pipefail
cd "$(dirname "$0")/.."
tool() { go tool -modfile=hack/tools/go.mod "$@"; }

tool controller-gen object paths=./api/... crd output:crd:dir=config/crd
tool controller-gen rbac:roleName=voiceroom-operator,fileName=operator.yaml paths='./controllers/...' output:rbac:dir=config/rbac
tool controller-gen rbac:roleName=voiceroom-gateway,fileName=gateway.yaml paths='./cmd/gateway/...' output:rbac:dir=config/rbac
tool controller-gen rbac:roleName=voiceroom-uninstall,fileName=uninstall.yaml paths='./cmd/operator/...' output:rbac:dir=config/rbac

chart=charts/voiceroom
rm -rf $chart/crds $chart/files/rbac
mkdir -p $chart/crds $chart/files/rbac
cp config/crd/voiceroom.dev_*.yaml $chart/crds/
cp config/rbac/operator.yaml config/rbac/gateway.yaml config/rbac/uninstall.yaml $chart/files/rbac/
tool helm template voiceroom $chart --no-hooks --namespace voiceroom-system \
  --set chat.existingSecret=voiceroom-chat > config/default/voiceroom.yaml
