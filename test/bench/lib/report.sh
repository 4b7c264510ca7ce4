#
# report.sh
#		The table of results: in the terminal, as Markdown and as CSV.
#

# Rows: what, value, floor, ratio, lowest, highest, goal, met, how far beyond the goal; between tabs.
rows=()
notes=()
settings=

# A number with its unit, short.
figure()
{
	awk -v v="$1" -v unit="$2" 'BEGIN {
		if (unit == "s" && v < 1) { v *= 1000; unit = "ms" }
		text = v >= 1000 ? sprintf("%d", v + 0.5) : v >= 100 ? sprintf("%.0f", v) : v >= 10 ? sprintf("%.1f", v) : sprintf("%.2f", v)
		while (match(text, /^[0-9]+[0-9][0-9][0-9]($|,)/))
		{
			head = text; sub(/,.*/, "", head); rest = substr(text, length(head) + 1)
			text = substr(head, 1, length(head) - 3) "," substr(head, length(head) - 2) rest
		}
		print text ((unit == "/s" || unit == "%") ? unit : " " unit)
	}'
}

#
# judge JUDGED DIRECTION GOAL UNIT: three fields, the goal as text, whether it is
# met, and how many times as good as the goal the judged number is.
#
judge()
{
	if [ "$3" = - ]; then
		printf -- '-\t-\t'
		return
	fi
	awk -v judged="$1" -v direction="$2" -v goal="$3" -v unit="$4" 'BEGIN {
		least = direction == "at least"
		met = least ? judged >= goal : judged <= goal
		if (least)
			times = judged / goal
		else if (judged > 0 && goal > 0)
			times = goal / judged
		else
			times = met ? 10 : 0.1
		printf "%s %s%s\t%s\t%.3f", (least ? ">=" : "<="), goal, (unit == "" ? "" : unit == "%" ? unit : " " unit), (met ? "yes" : "no"), times
	}'
}

# add_row WHAT VALUE FLOOR UNIT RATIO LOWEST HIGHEST DIRECTION GOAL
add_row()
{
	rows+=("$(printf '%s\t%s\t%s\t%.3f\t%.3f\t%.3f\t%s' "$1" "$(figure "$2" "$4")" "$(figure "$3" "$4")" \
		"$5" "$6" "$7" "$(judge "$5" "$8" "$9" '')")")
}

# absolute_row WHAT LABEL UNIT DIRECTION GOAL [FLOOR-LABEL]: the goal is one for the figure itself
absolute_row()
{
	local value floor=- ratio=(- - -)

	value=$(median "$2")
	if [ -n "${6:-}" ]; then
		floor=$(figure "$(median "$6")" "$3")
		read -ra ratio < <(ratios "$2" "$6" | awk '{ printf "%.3f %.3f %.3f\n", $1, $2, $3 }')
	fi
	rows+=("$(printf '%s\t%s\t%s\t%s\t%s\t%s\t%s' "$1" "$(figure "$value" "$3")" "$floor" "${ratio[@]}" \
		"$(judge "$value" "$4" "$5" "$3")")")
}

# unmeasured_row WHAT DIRECTION GOAL WHY
unmeasured_row()
{
	local goal=-

	if [ "$3" != - ]; then
		goal="$([ "$2" = 'at least' ] && echo '>=' || echo '<=') $3"
	fi
	rows+=("$(printf '%s\t-\t-\t-\t-\t-\t%s\tnot measured: %s\t' "$1" "$goal" "$4")")
}

# peer_row MISSING WHAT LABEL FLOOR-LABEL GOAL: a rate against that of a peer, if there is one
peer_row()
{
	if [ -n "$1" ]; then
		unmeasured_row "$2" 'at least' "$5" "$1"
	else
		rate_row "$2" "$3" "$4" "$5"
	fi
}

# A rate a second against its floor: the higher the better.
rate_row()
{
	local ratio

	read -ra ratio < <(ratios "$2" "$3")
	add_row "$1" "$(median "$2")" "$(median "$3")" /s "${ratio[@]}" 'at least' "$4"
}

# A duration in seconds against its floor: the lower the better.
time_row_of()
{
	local ratio

	read -ra ratio < <(ratios "$2" "$3")
	add_row "$1" "$(median "$2")" "$(median "$3")" s "${ratio[@]}" 'at most' "$4"
}

# The time a call of one rate against that of another.
time_row()
{
	local ratio

	read -ra ratio < <(ratios "$3" "$2")
	add_row "$1" "$(calc "1000000 * $clients / $(median "$2")")" "$(calc "1000000 * $clients / $(median "$3")")" us \
		"${ratio[@]}" 'at most' "$4"
}

# One measured figure against one floor, without rounds.
fixed_row()
{
	local ratio

	read -ra ratio < <(ratios "$2" "$3")
	add_row "$1" "$(median "$2")" "$(median "$3")" "$4" "${ratio[@]}" "$5" "$6"
}

# ---- the circumstances ----

# How busy others keep the machine while we are idle, in percent of all cores.
measure_noise()
{
	local first second

	read -ra first < /proc/stat
	sleep 1
	read -ra second < /proc/stat
	notes+=("$1 the run other processes kept the machine $(awk -v a="${first[*]}" -v b="${second[*]}" 'BEGIN {
		n = split(a, x); split(b, y)
		for (i = 2; i <= n && i <= 9; i++) all += y[i] - x[i]
		idle = y[5] - x[5] + y[6] - x[6]
		printf "%.0f", (all > 0 ? 100 * (all - idle) / all : 0)
	}') % busy, the load average was $(cut -d ' ' -f 1-3 /proc/loadavg)")
}

settings_text()
{
	echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo), $(uname -sr)"
	echo "file system: $(df -PT "$work" | awk 'NR == 2 { print $2 " on " $1 }')"
	echo "server: $("$bin/postgres" --version), library of $(date -u -r "$("${PG_CONFIG:-pg_config}" --pkglibdir)/vqueue.so" +%Y-%m-%dT%H:%M:%SZ)"
	echo "settings: $(server_settings | paste -sd ',' | sed 's/,/, /g')"
	peers_text
	echo "load: $clients clients with prepared statements in 2 threads unless a row says otherwise, $rounds rounds of $seconds s in turns; ratios are medians of the rounds' ratios, figures are medians"
}

print_settings()
{
	settings=$(settings_text)
	echo "$settings"
}

# ---- output ----

terminal_table()
{
	printf '%s\n' $'what\tvalue\tfloor\tratio\trange\tgoal\tmet' "${rows[@]}" |
		awk -F '\t' -v OFS='\t' 'NR == 1 { print; next } { print $1, $2, $3, $4, ($5 == "-" ? $5 : $5 "-" $6), $7, $8 }' |
		awk -F '\t' '{
			for (i = 1; i <= NF; i++) { cell[NR, i] = $i; if (length($i) > width[i]) width[i] = length($i) }
			columns = NF
		}
		END {
			for (r = 1; r <= NR; r++) {
				line = ""
				for (i = 1; i <= columns; i++)
					line = line sprintf((i == 1 || i >= 6 ? "%-" : "%") width[i] "s  ", cell[r, i])
				sub(/ +$/, "", line)
				print line
				if (r == 1) { gsub(/./, "-", line); print line }
			}
		}'
}

markdown_table()
{
	echo '| what | value | floor | ratio | range | goal | met |'
	echo '|---|---:|---:|---:|---:|---|---|'
	printf '%s\n' "${rows[@]}" |
		awk -F '\t' '{ printf "| %s | %s | %s | %s | %s | %s | %s |\n", $1, $2, $3, $4, ($5 == "-" ? $5 : $5 "-" $6), $7, $8 }'
}

csv_table()
{
	echo 'what,value,floor,ratio,lowest,highest,goal,met,times_goal'
	printf '%s\n' "${rows[@]}" |
		awk -F '\t' '{ for (i = 1; i <= NF; i++) printf "\"%s\"%s", $i, (i < NF ? "," : "\n") }'
}

# Every round's figure.
csv_rounds()
{
	local label

	echo 'label,round,figure'
	for label in "${!samples[@]}"; do
		tr ' ' '\n' <<< "${samples[$label]}" | grep . | awk -v l="$label" '{ print l "," NR "," $1 }'
	done | sort -t , -k 1,1 -k 2,2n
}

results_folder()
{
	local folder=${RESULTS:-$here/results}

	if mkdir -p "$folder" 2> /dev/null && [ -w "$folder" ]; then
		echo "$folder"
	else
		mktemp -d "${TMPDIR:-/tmp}/vqueue-bench-results.XXXXXX"
	fi
}

write_report()
{
	local folder stamp

	folder=$(results_folder)
	stamp=$(date -u +%Y%m%dT%H%M%SZ)
	{
		printf '# vqueue: benchmark of %s\n\n' "$(date -u +'%Y-%m-%d %H:%M UTC')"
		printf '%s\n' "$settings" "${notes[@]}" | sed 's/^/- /'
		printf '\n![ratios against goals](%s.svg)\n\n' "$stamp"
		markdown_table
	} > "$folder/$stamp.md"
	csv_table > "$folder/$stamp.csv"
	csv_rounds > "$folder/$stamp-rounds.csv"
	awk -v title="vqueue: benchmark of $(date -u +%Y-%m-%d), $(nproc) cores" -f "$here/chart.awk" "$folder/$stamp.csv" > "$folder/$stamp.svg"
	echo
	terminal_table
	echo
	printf '%s\n' "${notes[@]}"
	printf '%s\n' "${rows[@]}" | awk -F '\t' '{ n[$8]++ } END { printf "%d goals met, %d not met\n", n["yes"], n["no"] }'
	echo "Markdown, CSV and a chart are in $folder"
}
