{{- /* Labels of one component: (list . "gateway") */ -}}
{{- define "voiceroom.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{ include "voiceroom.selector" . }}
{{- end -}}

{{- define "voiceroom.selector" -}}
app.kubernetes.io/name: voiceroom
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- /* Image of one command: (list . "gateway") */ -}}
{{- define "voiceroom.image" -}}
{{- $root := index . 0 -}}
{{ printf "%s-%s:%s" $root.Values.image.repository (index . 1) (default $root.Chart.AppVersion $root.Values.image.tag) }}
{{- end -}}

{{- define "voiceroom.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "voiceroom.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* Scheduling of one component: its values */ -}}
{{- define "voiceroom.scheduling" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Replicas stand on different nodes and in different zones where there are several:
       (list . "gateway"). Those of an earlier version do not count. */ -}}
{{- define "voiceroom.spread" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- topologyKey: {{ . }}
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels: {{- include "voiceroom.selector" (list $root $component) | nindent 6 }}
{{- end }}
{{- end -}}

{{- /* Annotations of what `helm uninstall` makes, uses and deletes before it deletes the rest:
       the order in which it is made. */ -}}
{{- define "voiceroom.beforeDelete" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end -}}

{{- /* What makes a command send its traces. */ -}}
{{- define "voiceroom.tracing" -}}
{{- with .Values.tracing.endpoint }}
- { name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }} }
- { name: OTEL_TRACES_SAMPLER, value: parentbased_traceidratio }
- { name: OTEL_TRACES_SAMPLER_ARG, value: {{ $.Values.tracing.ratio | quote }} }
{{- end }}
{{- end -}}

{{- define "voiceroom.chatSecret" -}}
{{ default "voiceroom-chat" .Values.chat.existingSecret }}
{{- end -}}
