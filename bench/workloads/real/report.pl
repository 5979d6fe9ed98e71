# Hashes of arrays, regular expressions and sorting: a report from a log. Argument: rounds.
use strict;
use warnings;

my $state = 1;

sub below {
    my ($limit) = @_;
    $state = ($state * 1103515245 + 12345) & 0x7fffffff;
    return ($state >> 8) % $limit;
}

sub lines {
    my ($count) = @_;
    my @words = map { join '', map { chr 97 + below(26) } 0 .. 2 + below(6) } 1 .. 400;
    return map {
        my $user = 'user' . below(2000);
        my $what = join ' ', map { $words[below(400)] } 0 .. below(6);
        sprintf '%02d:%02d %s[%d]: %s', below(24), below(60), $user, below(9999), $what;
    } 1 .. $count;
}

my $sum = 0;
for my $round (1 .. $ARGV[0]) {
    my (%by_user, %seen);
    for my $line (lines(20000)) {
        next unless $line =~ /^(\d+):(\d+) (\w+)\[(\d+)\]: (.*)$/;
        push @{ $by_user{$3} }, { time => $1 * 60 + $2, number => $4, words => [split / /, $5] };
    }
    for my $user (sort keys %by_user) {
        my @entries = sort { $a->{time} <=> $b->{time} || $a->{number} <=> $b->{number} }
            @{ $by_user{$user} };
        my $text = join "\n", map { "$_->{time}\t" . ucfirst(join '-', @{ $_->{words} }) } @entries;
        (my $short = $text) =~ s/[aeiou]+(\w)/$1/g;
        $seen{$_}++ for $short =~ /\w+/g;
        $sum += length $text;
    }
    $sum += keys %seen;
}
print "perl seed=1 checksum=$sum\n";
