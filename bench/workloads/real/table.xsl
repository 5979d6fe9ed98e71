<?xml version="1.0"?>
<!-- Builds a document of $rows rows, sorts and groups it, and writes a summary. Its own input. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
    xmlns:exsl="http://exslt.org/common" exclude-result-prefixes="exsl">
  <xsl:output method="xml" indent="yes"/>
  <xsl:param name="rows" select="1000"/>
  <xsl:key name="by-group" match="row" use="@group"/>

  <!-- Halves the range: the depth of the recursion stays small. -->
  <xsl:template name="rows">
    <xsl:param name="from"/>
    <xsl:param name="to"/>
    <xsl:choose>
      <xsl:when test="$from = $to">
        <row id="{$from}" group="g{($from * 7919) mod 211}">
          <name><xsl:value-of select="concat('name ', ($from * 104729) mod 10007)"/></name>
          <price><xsl:value-of select="($from * 31) mod 997"/></price>
        </row>
      </xsl:when>
      <xsl:otherwise>
        <xsl:variable name="half" select="floor(($from + $to) div 2)"/>
        <xsl:call-template name="rows">
          <xsl:with-param name="from" select="$from"/>
          <xsl:with-param name="to" select="$half"/>
        </xsl:call-template>
        <xsl:call-template name="rows">
          <xsl:with-param name="from" select="$half + 1"/>
          <xsl:with-param name="to" select="$to"/>
        </xsl:call-template>
      </xsl:otherwise>
    </xsl:choose>
  </xsl:template>

  <xsl:template match="/">
    <xsl:variable name="made">
      <table>
        <xsl:call-template name="rows">
          <xsl:with-param name="from" select="1"/>
          <xsl:with-param name="to" select="$rows"/>
        </xsl:call-template>
      </table>
    </xsl:variable>
    <xsl:variable name="sorted">
      <table>
        <xsl:for-each select="exsl:node-set($made)/table/row">
          <xsl:sort select="name"/>
          <xsl:sort select="price" data-type="number"/>
          <xsl:copy>
            <xsl:copy-of select="@*"/>
            <xsl:attribute name="place"><xsl:value-of select="position()"/></xsl:attribute>
            <title><xsl:value-of select="translate(name, 'name', 'NAME')"/></title>
            <xsl:copy-of select="price"/>
          </xsl:copy>
        </xsl:for-each>
      </table>
    </xsl:variable>
    <summary>
      <xsl:for-each select="exsl:node-set($sorted)/table/row
          [generate-id() = generate-id(key('by-group', @group)[1])]">
        <xsl:sort select="@group"/>
        <group name="{@group}" rows="{count(key('by-group', @group))}"
            sum="{sum(key('by-group', @group)/price)}" first="{title}"/>
      </xsl:for-each>
    </summary>
  </xsl:template>
</xsl:stylesheet>
