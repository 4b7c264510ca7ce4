#
# chart.awk
#		The CSV of a run as a chart in SVG: a bar a row that has a goal, as long as
#		the row is good, on a scale of logarithms in which the goal is one line.
#
# awk -v title=TITLE -f chart.awk RESULTS.csv > RESULTS.svg
#

function escaped(text)
{
	gsub(/&/, "\\&amp;", text)
	gsub(/</, "\\&lt;", text)
	gsub(/>/, "\\&gt;", text)
	return text
}

# Where a bar ends that is so many times as good as its goal.
function across(times)
{
	times = times < least ? least : times > most ? most : times
	return left + width * log(times / least) / log(most / least)
}

function text(x, y, anchor, class, what)
{
	printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">%s</text>\n", x, y, anchor, class, escaped(what)
}

BEGIN {
	FS = "\",\""
	left = 640; width = 340; bar = 14; step = 24; top = 78
	least = 0.1; most = 10
}

# what, value, floor, ratio, lowest, highest, goal, met, times
NR > 1 {
	sub(/^"/, "", $1)
	sub(/"$/, "", $NF)
	if ($7 == "-") next
	n++
	what[n] = $1; value[n] = $2; ratio[n] = $4; goal[n] = $7; met[n] = $8; times[n] = $9 == "" ? "" : $9 + 0
}

END {
	height = top + n * step + 40
	total = left + width + 330
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n", total, height, total, height
	printf "<title>%s</title>\n", escaped(title)
	print "<style>text { font: 13px sans-serif; fill: #222 } .title { font-size: 18px; font-weight: bold } .small { font-size: 11px; fill: #666 } .grid { stroke: #ddd } .goal { stroke: #222; stroke-width: 1.5 } .yes { fill: #2a7f62 } .no { fill: #c0532f }</style>"
	printf "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", total, height
	text(16, 28, "start", "title", title)
	text(16, 48, "start", "small", "bars: how many times as good as the goal, which is the black line; logarithmic, cut at a tenth and at ten times")
	for (i = split("0.1 0.2 0.5 1 2 5 10", marks, " "); i > 0; i--) {
		printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" class=\"grid\"/>\n", across(marks[i]), across(marks[i]), top - 4, height - 36
		text(across(marks[i]), top - 10, "middle", "small", marks[i] "x")
	}
	for (i = 1; i <= n; i++) {
		y = top + (i - 1) * step
		text(left - 10, y + bar - 2, "end", "", what[i])
		if (times[i] == "") {
			text(left + width + 10, y + bar - 2, "start", "small", met[i])
			continue
		}
		printf "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" class=\"%s\"/>\n", left, y + 1, across(times[i]) - left, bar, met[i]
		text(left + width + 10, y + bar - 2, "start", "", (goal[i] ~ /[a-z%]/ ? value[i] : ratio[i]) " (goal " goal[i] ")" (met[i] == "yes" ? "" : ", not met"))
	}
	printf "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" class=\"goal\"/>\n", across(1), across(1), top - 4, height - 36
	print "</svg>"
}
