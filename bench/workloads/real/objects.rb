# Objects, hashes, strings and blocks, as a web framework makes them. Argument: rounds.

Item = Struct.new(:id, :name, :price, :tags)

class Random31
  def initialize(seed)
    @state = seed
  end

  def below(limit)
    @state = (@state * 1_103_515_245 + 12_345) & 0x7fffffff
    (@state >> 8) % limit
  end
end

def items(random, count)
  Array.new(count) do |id|
    name = "item-#{random.below(5000)}"
    Item.new(id, name, random.below(10_000), [name[-2..], "shelf #{random.below(40)}"])
  end
end

def page(rows)
  body = rows.map do |row|
    "<tr><td>#{row.id}</td><td>#{row.name.upcase}</td><td>#{format('%.2f', row.price / 100.0)}</td></tr>"
  end
  "<table>\n#{body.join("\n")}\n</table>"
end

random = Random31.new(1)
sum = 0
kept = {}
ARGV.fetch(0).to_i.times do |round|
  rows = items(random, 12_000)
  groups = rows.group_by(&:name)
  groups.each { |name, group| kept[name] = group.first if group.size > 3 }
  sorted = rows.sort_by { |row| [-row.price, row.name] }
  sorted.each_slice(200) { |slice| sum += page(slice).bytesize }
  words = page(rows.first(3000)).scan(/[a-z]+|\d+/i).tally
  sum += words.size + words.values.max + round
  text = rows.map { |row| row.to_a.flatten.join(",") }.join("\n")
  sum += text.lines.map { |line| line.split(",").last.sub("shelf", "s").to_sym }.uniq.size
end
puts "ruby seed=1 checksum=#{sum + kept.size}"
