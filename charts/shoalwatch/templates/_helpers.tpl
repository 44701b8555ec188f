{{/* The labels by which a component's pods are selected. They never change: selectors cannot. */}}
{{- define "shoalwatch.labels" -}}
{app.kubernetes.io/name: shoalwatch, app.kubernetes.io/component: {{ . }}}
{{- end -}}

{{/* The image of a component: (list . "operator") */}}
{{- define "shoalwatch.image" -}}
{{- $root := index . 0 -}}
{{ $root.Values.image.registry }}/{{ index . 1 }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end -}}

{{/* Annotations of a component's pods, if there are any: (list . .Values.operator 8080) */}}
{{- define "shoalwatch.podAnnotations" -}}
{{- $root := index . 0 -}}
{{- $annotations := deepCopy (index . 1).podAnnotations -}}
{{- if $root.Values.metrics.annotations -}}
{{- $port := index . 2 | toString -}}
{{- $annotations = merge $annotations (dict "prometheus.io/scrape" "true" "prometheus.io/port" $port "prometheus.io/path" "/metrics") -}}
{{- end -}}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* What is set of a component's pods: pull secrets, and where they run: (list . .Values.operator) */}}
{{- define "shoalwatch.pod" -}}
{{- with (index . 0).Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with index . 1 }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Who may read metrics, as the `from` of a NetworkPolicy. */}}
{{- define "shoalwatch.metricsFrom" -}}
{{- if .Values.networkPolicy.metricsFrom -}}
{{- toYaml .Values.networkPolicy.metricsFrom -}}
{{- else -}}
- namespaceSelector: {}
{{- end -}}
{{- end -}}
