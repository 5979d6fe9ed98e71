# Documents are made, grouped, changed and counted; $n of them.
def below($limit): (. / 256 | floor) % $limit;
def next: (. * 69069 + 12345) % 2147483648;
[limit($n; 1 | recurse(next))]
| map({id: ., name: "user-\(below(700))", tags: [range(below(4)) | "t\(.)"],
       address: {city: "city \(below(90))", zip: "\(below(99999))"}})
| (group_by(.address.city)
   | map({key: .[0].address.city, value: (map(.name) | unique | join(", "))}) | from_entries) as $by
| (map(tojson | fromjson | .tags |= map(ascii_upcase) | del(.address.zip))
   | sort_by(.name, .id) | map(tostring | length) | add) as $bytes
| "jq seed=1 checksum=\($bytes + ($by | map(length) | add))"
